import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The private directory of one ssh, and what can be asked of it over its control socket. */
export type ControlSocket = {
  readonly dir: string;
  /** Path of the control socket itself. */
  readonly path: string;
  /** Options for the ssh that is to own the socket. */
  readonly masterArgs: readonly string[];
  /** Adds one forward to the living connection; resolves to what ssh printed (the port, for a listen port 0). */
  readonly forward: (spec: readonly string[], timeoutMs: number) => Promise<ControlAnswer>;
  readonly remove: () => void;
};

export type ControlAnswer =
  | { readonly ok: true; readonly output: string }
  | { readonly ok: false; readonly problem: string };

/** ssh makes its socket as PATH plus a dot and 16 characters, of at most 107 bytes in all. */
const LONGEST_PATH = 90;

/**
 * A fresh directory, mode 0700, for the control socket and the sockets of the heartbeat. Fresh for each ssh, because a socket that
 * an earlier ssh left behind silently turns multiplexing off. Throws where no directory can be made whose path is short enough.
 */
export const createControlSocket = (
  sshPath: string,
  env: Readonly<Record<string, string | undefined>>,
): ControlSocket => {
  const dir = privateDirectory();
  const path = join(dir, 'ctl');
  return {
    dir,
    path,
    masterArgs: [
      ...['-o', 'ControlMaster=yes', '-o', `ControlPath=${path}`, '-o', 'ControlPersist=no'],
      ...['-o', 'StreamLocalBindUnlink=yes'],
    ],
    forward: (spec, timeoutMs) =>
      ask(sshPath, ['-F', 'none', '-S', path, '-O', 'forward', ...spec, 'x'], env, timeoutMs),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
};

/** The first of these under which a short enough path can be had: memory before disk. */
const privateDirectory = (): string => {
  const problems: string[] = [];
  for (const base of [process.env['XDG_RUNTIME_DIR'], tmpdir(), '/tmp', '/dev/shm', '/var/tmp']) {
    if (!base) continue;
    if (`${base}/autossh-XXXXXX/echo`.length > LONGEST_PATH) {
      problems.push(`${base}: path too long`);
      continue;
    }
    try {
      return mkdtempSync(join(base, 'autossh-'));
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  throw new Error(
    `no private directory for the control socket: expected a writable TMPDIR, got ${problems.join('; ')}`,
  );
};

/** One command to the ssh that owns the socket. A stopped ssh never answers, so the answer has a deadline of our own. */
const ask = (
  file: string,
  args: string[],
  env: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
): Promise<ControlAnswer> =>
  new Promise((resolve) => {
    const options = { env, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 65_536, encoding: 'utf8' } as const;
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve({ ok: true, output: stdout.trim() });
      const timedOut = error.killed === true && error.code === null;
      const problem = timedOut
        ? `ssh did not answer over its control socket within ${timeoutMs} ms`
        : stderr.split('\n')[0]?.trim() || `ssh -O forward ended with ${error.code ?? error.signal}`;
      resolve({ ok: false, problem });
    });
    child.stdin?.end();
  });
