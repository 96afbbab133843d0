import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** In a private directory: whose it is. */
const OWNER = 'owner';

type Owner = {
  readonly tunnel: string;
  readonly pid: number;
  readonly started: string | null;
  /** Where `pid` counts; null: nobody knows. */
  readonly pidNamespace: string | null;
};

/** Writes down that a directory is this process's, for one tunnel: once it is dead, another may remove it. */
export const claim = (dir: string, tunnel: string): void => {
  const owner: Owner = { tunnel, pid: process.pid, started: startOf(process.pid), pidNamespace: pidNamespace() };
  writeFileSync(join(dir, OWNER), JSON.stringify(owner), { mode: 0o600 });
};

/**
 * Removes the directories below `base` that a supervisor of the same tunnel left when it was killed, with their copies of keys; returns
 * how many. Only those that mkdtemp made with this prefix for this user, that are claimed, and whose process is dead. It is dead
 * where nobody has its number, or somebody who was started at another time: a restarted container counts from 1 again. In a directory
 * that is `shared`, as /dev/shm with hostIPC, one of another container may live although nobody has its number here. Never throws.
 */
export const removeLeftovers = (base: string, prefix: string, tunnel: string, shared = true): number =>
  namesIn(base)
    .filter((name) => name.startsWith(prefix) && /^[A-Za-z0-9]{6}$/.test(name.slice(prefix.length)))
    .map((name) => join(base, name))
    .filter((dir) => isOurs(dir) && isLeft(dir, tunnel, shared))
    .filter(remove).length;

const namesIn = (base: string): string[] => {
  try {
    return readdirSync(base);
  } catch {
    return [];
  }
};

const isOurs = (dir: string): boolean => {
  try {
    const stat = lstatSync(dir);
    return stat.isDirectory() && stat.uid === process.getuid?.();
  } catch {
    return false;
  }
};

const isLeft = (dir: string, tunnel: string, shared: boolean): boolean => {
  try {
    const owner = JSON.parse(readFileSync(join(dir, OWNER), 'utf8')) as Partial<Owner>;
    if (owner.tunnel !== tunnel || !Number.isInteger(owner.pid)) return false;
    const { started = null, pidNamespace: elsewhere = null } = owner;
    if (shared && elsewhere !== null && elsewhere !== pidNamespace()) return false;
    return !lives({ pid: Number(owner.pid), started });
  } catch {
    return false;
  }
};

const lives = ({ pid, started }: Pick<Owner, 'pid' | 'started'>): boolean => {
  if (started !== null) return startOf(pid) === started;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
};

/** When a process was started, in ticks since the machine was (proc_pid_stat(5), field 22); null: it is dead, or this is no Linux. */
const startOf = (pid: number): string | null => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name is in parentheses and may hold any byte.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
};

const pidNamespace = (): string | null => {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return null;
  }
};

const remove = (dir: string): boolean => {
  try {
    rmSync(dir, { recursive: true });
    return true;
  } catch {
    return false;
  }
};
