import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { isAlive, type Process, processOf, signal } from './processes.ts';
import { until } from './until.ts';

/** The command under test, made by test/support/built.ts before any test runs. */
export const AUTOSSH = resolve(import.meta.dirname, '../../dist/autossh.cjs');

export type AutosshOptions = {
  args: readonly string[];
  /**
   * Beside a clean environment with AUTOSSH_DEBUG=1, AUTOSSH_GATETIME=0 and 1.4g's AUTOSSH_POLL=600, so that no beat ends an ssh which
   * is slow to log in; undefined takes one away.
   */
  env?: Readonly<Record<string, string | undefined>>;
  /** A command that runs ours, e.g. `nsenter … --`, `tini --`. */
  wrap?: readonly string[];
  /** What is run instead of dist/autossh.cjs. */
  command?: string;
  stdin?: 'ignore' | 'pipe';
};

export type Autossh = {
  child: ChildProcess;
  /** Of what was started: ours, or its wrapper. */
  pid: number;
  /** Its TMPDIR: also the mark by which its processes are known. Gone after stop(). */
  dir: string;
  stderr(): string;
  stdout(): Buffer;
  /** Lines on stderr so far, from the `from`th on. */
  lines(from?: number): string[];
  /** Waits for a line from `from` (a result of `lines().length`) on that matches. */
  said(pattern: RegExp, from?: number, deadlineMs?: number): Promise<string>;
  /** How often ssh was started, as the log has it; and the pid of the last one. */
  starts(): number;
  ssh(): Promise<Process>;
  /** Waits until another ssh than `old` runs. */
  nextSsh(old: Process, deadlineMs?: number): Promise<Process>;
  /** Every process of this run, ours included: ssh, agent, helpers, in whatever session they live. */
  processes(): Process[];
  ended(deadlineMs?: number): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** SIGTERM, the end, and the proof that nothing is left: neither a process nor a file. Safe to call twice. */
  stop(): Promise<void>;
};

/** Starts our autossh as a person would, its log on stderr. */
export const startAutossh = ({ args, env = {}, wrap = [], command = AUTOSSH, stdin = 'ignore' }: AutosshOptions) => {
  const dir = mkdtempSync(join(tmpdir(), 'at-'));
  const [file = command, ...rest] = [...wrap, command, ...args];
  const child = spawn(file, rest, { stdio: [stdin, 'pipe', 'pipe'], env: autosshEnv(dir, env) });
  let stderr = '';
  const out: Buffer[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout?.on('data', (bytes: Buffer) => out.push(bytes));
  let over: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  let failure: Error | undefined;
  child.on('error', (problem) => {
    failure = problem;
  });
  child.on('close', (code, name) => {
    over = { code, signal: name };
  });
  const state = () => (failure === undefined ? stderr : `${failure}\n${stderr}`);
  const lines = (from = 0) => stderr.split('\n').slice(0, -1).slice(from);
  const lastPid = () => Number(stderr.match(/ssh child pid is (\d+)(?![\s\S]*ssh child pid is )/)?.[1] ?? 0);
  const ssh = () => until('an ssh', () => (over ? fail(`it ended\n${state()}`) : processOf(lastPid())), { state });

  const autossh: Autossh = {
    child,
    pid: child.pid ?? 0,
    dir,
    lines,
    ssh,
    stderr: () => stderr,
    stdout: () => Buffer.concat(out),
    said: (pattern, from = 0, deadlineMs = 90_000) =>
      until(`a line like ${pattern}`, () => lines(from).find((line) => pattern.test(line)), { state, deadlineMs }),
    starts: () => [...stderr.matchAll(/starting ssh \(count (\d+)/g)].length,
    nextSsh: async (old, deadlineMs = 60_000) => {
      await until('another ssh', () => lastPid() !== old.pid, { state, deadlineMs });
      return await ssh();
    },
    processes: () => markedProcesses(dir),
    ended: (deadlineMs = 60_000) => until('autossh to end', () => over, { state, deadlineMs }),
    stop: async () => {
      if (over === undefined) child.kill('SIGTERM');
      try {
        await until('autossh to end on SIGTERM', () => over, { state });
        await nothingLeft(dir);
      } finally {
        for (const one of markedProcesses(dir)) signal(one, 'SIGKILL');
        rmSync(dir, { recursive: true, force: true });
      }
    },
  };
  return autossh;
};

/** What every run of a test starts from: nothing of the machine's own settings, its directory for temporary files as its mark. */
export const autosshEnv = (dir: string, env: Readonly<Record<string, string | undefined>> = {}) => {
  const whole: Record<string, string | undefined> = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    USER: process.env['USER'],
    TMPDIR: dir,
    AUTOSSH_NODE: process.execPath,
    AUTOSSH_DEBUG: '1',
    AUTOSSH_POLL: '600',
    AUTOSSH_GATETIME: '0',
    ...env,
  };
  return Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined));
};

/** The processes that have `mark`, a path that nobody else uses, in their environment or on their command line. */
export const markedProcesses = (mark: string): Process[] =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .filter((entry) => [`/proc/${entry}/environ`, `/proc/${entry}/cmdline`].some((file) => reads(file, mark)))
    .map((entry) => processOf(Number(entry)))
    .filter((one) => one !== undefined)
    .filter(isAlive);

/** Waits until no process of this run is left; its directory is empty then, unless it was not given the time to tidy up. */
export const nothingLeft = async (dir: string, { files = true } = {}): Promise<void> => {
  const left = () =>
    [
      ...markedProcesses(dir).map((one) => `${one.pid} ${one.name} ${one.state}`),
      ...(files ? readdirSync(dir).map((name) => join(dir, name)) : []),
    ].join('\n');
  await until('nothing to be left', () => left() === '', { state: left });
};

/** ssh's own arguments for a `-N` without a heartbeat of its own: what the tests of our heartbeats want to see. */
export const tunnelArgs = (sshd: { sshArgs: string[]; destination: string }, ...forwards: string[]): string[] => [
  '-N',
  ...sshd.sshArgs,
  ...forwards,
  sshd.destination,
];

const reads = (file: string, mark: string): boolean => {
  try {
    return readFileSync(file, 'latin1').includes(mark);
  } catch {
    return false;
  }
};

const fail = (problem: string): never => {
  throw new Error(problem);
};
