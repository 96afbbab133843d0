import { lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorText } from '../supervisor/system-error.ts';

type Machine = {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What os.tmpdir() says. */
  readonly tmpdir: string;
};

/**
 * Where keys may lie for the time of a run, the best first. On Linux in memory: /dev/shm, then the session's own directory; elsewhere
 * there is no such place, and macOS' $TMPDIR is at least the user's alone. /tmp is the last resort: our directory there is private too.
 */
export const privateBases = ({ platform, env, tmpdir }: Machine): string[] => {
  const inMemory = platform === 'linux' ? ['/dev/shm', env['XDG_RUNTIME_DIR'] ?? ''] : [];
  return [...new Set([...inMemory, tmpdir, '/tmp'])].filter((base) => base.startsWith('/'));
};

const thisMachine = (): Machine => ({ platform: process.platform, env: process.env, tmpdir: tmpdir() });

/**
 * Makes a directory of mode 0700 for one run, and removes those that a run which was killed together with all its processes has left.
 * Throws where none can be made.
 */
export const makePrivateDirectory = (): string => {
  const problems: string[] = [];
  const bases = privateBases(thisMachine());
  for (const base of bases) removeLeftOvers(base);
  for (const base of bases)
    try {
      return mkdtempSync(join(base, `${prefix()}${process.pid}-`));
    } catch (error) {
      problems.push(`${base}: ${errorText(error)}`);
    }
  throw new Error(`expected a writable directory for keys and sockets; got ${problems.join('; ')}: set TMPDIR to one`);
};

/** Process ids mean something only within their namespace: another container may share the directory. */
const prefix = (): string => {
  try {
    return `autossh-run-${/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0]}-`;
  } catch {
    return 'autossh-run-0-';
  }
};

const removeLeftOvers = (base: string): void => {
  const start = prefix();
  try {
    for (const name of readdirSync(base)) {
      const pid = name.startsWith(start) ? /^(\d+)-\w+$/.exec(name.slice(start.length))?.[1] : undefined;
      if (pid === undefined || isRunning(Number(pid))) continue;
      const path = join(base, name);
      const { uid } = lstatSync(path);
      if (uid === process.getuid?.()) rmSync(path, { recursive: true, force: true });
    }
  } catch {
    // Not to be read, or gone meanwhile: nothing to do here.
  }
};

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
};
