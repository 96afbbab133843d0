import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { cgroupFolders } from './cgroups.ts';
import { isAlive, type Owner, startTime, thisProcess } from './owner.ts';
import { runsDir } from './paths.ts';
import { run as runProgram } from './process.ts';
import { until } from './until.ts';

/**
 * One cluster's traces on this machine. Whatever is made outside `dir` is written down in it first,
 * so that `down` and the sweep after a crash remove the same things by the same function.
 */
export type Run = {
  readonly id: string;
  readonly dir: string;
  /** For every program of the run: it marks them, and their children, as belonging to it. */
  readonly env: NodeJS.ProcessEnv;
};

type Record = {
  owner: Owner;
  /** Network interface on the host; its other end lies in the node's network namespace. */
  link?: string;
  /** Name below the root of each cgroup hierarchy. */
  cgroup?: string;
  /** Name of a cluster that kind made. */
  kind?: string;
};

const mark = 'AUTOSSH_OPERATOR_RUN';

export function createRun(): Run {
  const dir = mkdtempSync(join(runsDir(), 'run-'));
  write(dir, { owner: thisProcess() });
  for (const name of ['log', 'pki', 'tmp']) mkdirSync(join(dir, name), { mode: 0o700 });
  // runc leaves a file there for each command that it was about to start in a container when it was ended.
  return { id: basename(dir), dir, env: { ...process.env, TMPDIR: join(dir, 'tmp'), [mark]: dir } };
}

/** Call before making the thing: a crash in between then leaves a note too many, never one too few. */
export function noteDown(run: Run, made: Omit<Record, 'owner'>): void {
  write(run.dir, { ...(read(run.dir) ?? { owner: thisProcess() }), ...made });
}

export function listRuns(): { dir: string; owner: Owner | undefined; alive: boolean }[] {
  const root = runsDir();
  return readdirSync(root)
    .filter((name) => name.startsWith('run-'))
    .map((name) => {
      const dir = join(root, name);
      const owner = read(dir)?.owner;
      return { dir, owner, alive: owner ? isAlive(owner) : isBeingBorn(dir) };
    });
}

/** Removes what dead owners left. Every `up` begins with it. */
export async function sweep(log: (line: string) => void): Promise<string[]> {
  const dead = listRuns().filter(({ alive }) => !alive);
  for (const { dir, owner } of dead) {
    log(`sweeping ${dir}, left behind by process ${owner?.pid ?? 'unknown'}`);
    await removeRun(dir);
  }
  return dead.map(({ dir }) => dir);
}

/** Removes what this process made, however far it came: for an end that comes in the middle, where nobody holds a handle yet. */
export async function removeOwnRuns(): Promise<void> {
  const { pid, startTime } = thisProcess();
  for (const { dir, owner } of listRuns())
    if (owner?.pid === pid && owner.startTime === startTime) await removeRun(dir);
}

/** Ends every program of the run and removes all it made. Safe to repeat, and beside another sweep. */
export async function removeRun(dir: string): Promise<void> {
  const record = read(dir);
  await endPrograms(dir);
  // The kernel removes it with the namespace, but some time later: whoever asks at once would still see it. After a crash it is long
  // gone, and another run may have made one by that name.
  if (record?.link && runOfLink(record.link) === basename(dir)) await runProgram(['ip', 'link', 'delete', record.link]);
  if (record?.cgroup) await removeCgroups(record.cgroup);
  if (record?.kind) await runProgram(['kind', 'delete', 'cluster', '--name', record.kind]);
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
}

/** The id of the run that made a link, which its alias says; empty for a link of somebody else. */
export function runOfLink(link: string): string {
  try {
    return readFileSync(`/sys/class/net/${link}/ifalias`, 'utf8').trim();
  } catch {
    return ''; // gone
  }
}

/**
 * SIGKILL to all that bear the mark, until none is left. The process that is PID 1 of the node's namespaces is among them:
 * when it is gone, the kernel has ended every container and shim, and dropped the mounts and networks that only they saw.
 */
async function endPrograms(dir: string): Promise<void> {
  const seen = new Set<number>();
  await until(
    `no process of ${dir} to be left`,
    () => {
      for (const pid of marked(dir)) {
        seen.add(pid);
        try {
          process.kill(pid, 'SIGKILL');
        } catch {} // gone meanwhile
      }
      return [...seen].every((pid) => startTime(pid) === undefined) || undefined;
    },
    { seconds: 180, everyMilliseconds: 20 },
  );
}

/** Processes that bear the run's mark in the environment they were started with. */
export function marked(dir: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`${mark}=${dir}`);
      } catch {
        return false; // gone meanwhile, or another user's
      }
    });
}

/** A cgroup can be removed when its last process is gone for good, which may be a moment after it was ended. */
async function removeCgroups(name: string): Promise<void> {
  const folders = cgroupFolders(name);
  await until(
    `the cgroups ${name} to be empty`,
    () => {
      for (const folder of folders) if (existsSync(folder)) removeTree(folder);
      return true;
    },
    { seconds: 60 },
  );
}

/** Files of a cgroup cannot be unlinked: its folders go, the deepest first. */
function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  rmdirSync(folder);
}

const recordFile = 'run.json';

function read(dir: string): Record | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, recordFile), 'utf8')) as Record;
  } catch {
    return undefined;
  }
}

function write(dir: string, record: Record): void {
  const file = join(dir, recordFile);
  writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Between the making of its folder and the first record, a run has no owner yet. */
function isBeingBorn(dir: string): boolean {
  try {
    return Date.now() - statSync(dir).mtimeMs < 60_000;
  } catch {
    return true;
  }
}
