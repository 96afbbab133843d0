import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';

export type Env = Readonly<Record<string, string | undefined>>;

/** All that a child of ours gets of our own environment. Nothing that loads code, finds another agent or asks anybody is among it. */
const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TMPDIR', 'TZ'] as const;

/**
 * The environment of ssh and its tools: a closed list. ssh insists on an entry in /etc/passwd for its uid, which a uid that the cluster
 * picked (OpenShift) has not: then nss_wrapper shows it one, from files in `dir`.
 */
export const childEnv = (env: Env, dir: string): Record<string, string> => ({
  ...Object.fromEntries(
    PASSED_ON.flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  ),
  ...(hasPasswdEntry() ? {} : wrapped(dir)),
});

const hasPasswdEntry = (): boolean => {
  try {
    userInfo();
    return true;
  } catch {
    return false;
  }
};

/** By its bare name the dynamic linker finds the library in the machine's own directories; both files are needed. */
const wrapped = (dir: string): Record<string, string> => {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  const [passwd, group] = [join(dir, 'passwd'), join(dir, 'group')];
  writeFileSync(passwd, `autossh:x:${uid}:${gid}:autossh:${dir}:/bin/sh\n`, { mode: 0o600 });
  writeFileSync(group, `autossh:x:${gid}:\n`, { mode: 0o600 });
  return { LD_PRELOAD: 'libnss_wrapper.so', NSS_WRAPPER_PASSWD: passwd, NSS_WRAPPER_GROUP: group };
};
