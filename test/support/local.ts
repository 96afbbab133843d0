import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'vitest';
import { descendantsOf, isAlive, type Process, processOf, signal } from './processes.ts';
import { until } from './until.ts';

export const OPERATOR = resolve(import.meta.dirname, '../../dist/autossh-operator.cjs');

export type Output = { readonly code: number | null; readonly out: string; readonly err: string };

/** Runs a command of autossh-operator to its end. */
export const operator = (args: readonly string[], stdin = '', env: NodeJS.ProcessEnv = {}): Promise<Output> =>
  new Promise((done, fail) => {
    const child = spawn(OPERATOR, args, { env: { ...process.env, NODE_OPTIONS: '', ...env } });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    child.once('error', fail).once('close', (code) => done({ code, out, err }));
    child.stdin.on('error', () => {}).end(stdin);
  });

export type LocalRun = {
  readonly child: ChildProcess;
  /** Its directory for files of the test; TMPDIR of the run lies in it. */
  readonly dir: string;
  log(): Record<string, unknown>[];
  text(): string;
  /** Waits for a line of the log. */
  says(what: string, is: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** Its processes now, ssh and helpers of it among them. */
  processes(): Process[];
  /** Those of them that hold a connection: clients of their control sockets, which come and go, are called ssh too. */
  connections(): Process[];
  /** Waits until it has told where the status of a tunnel is, and gives that. */
  status(tunnel: string): Promise<Record<string, unknown>>;
  /** Waits until a tunnel is connected. */
  connected(tunnel: string): Promise<void>;
  /** Waits until it has ended, and resolves with the exit code. */
  readonly exited: Promise<number | null>;
};

/** Directories of runs that are there now, in all places where one may be. */
export const privateDirectories = (): string[] =>
  ['/dev/shm', process.env['XDG_RUNTIME_DIR'] ?? '', tmpdir()]
    .filter((base) => base !== '' && existsSync(base))
    .flatMap((base) => readdirSync(base).map((name) => join(base, name)))
    .filter((path) => /\/autossh-run-\d+-\d+-\w+$/.test(path));

/** `autossh-operator run` for one test, which at its end proves that nothing is left of it. */
export const localRun = (
  { onTestFinished }: Pick<TestContext, 'onTestFinished'>,
  args: readonly string[],
  stdin?: string,
): LocalRun => {
  const dir = mkdtempSync(join(tmpdir(), 'loc-'));
  const home = join(dir, 't');
  mkdirSync(home);
  const child = spawn(OPERATOR, ['run', ...args], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home, NODE_OPTIONS: '' },
  });
  child.stdin?.on('error', () => {}).end(stdin ?? '');
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const exited = new Promise<number | null>((done) => child.once('exit', done));
  const seen = new Map<number, Process>();
  const processes = () => {
    const now = child.pid === undefined ? [] : descendantsOf(child.pid);
    for (const one of now) seen.set(one.pid, one);
    return now;
  };
  const log = () =>
    text
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const says = (what: string, is: (line: Record<string, unknown>) => boolean) =>
    until(what, () => log().find(is), { deadlineMs: 60_000, state: () => text }) as Promise<Record<string, unknown>>;
  const status = async (tunnel: string) => {
    const tells = ({ msg, tunnel: id }: Record<string, unknown>) => msg === 'tunnel starts' && id === tunnel;
    await says(`the address of ${tunnel}`, tells);
    const address = new URL('/status', String(log().findLast(tells)?.['status']));
    // A supervisor may end in the middle of its answer.
    const answer = fetch(address).then((response) => response.json() as Promise<Record<string, unknown>>);
    return answer.catch((): Record<string, unknown> => ({}));
  };
  onTestFinished(async () => {
    processes();
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await exited;
    const mine = child.pid;
    await until('its processes to end', () => ![...seen.values()].some(isAlive), {
      state: () => [...seen.values()].filter(isAlive).map((one) => `${one.pid} ${one.name}`),
    }).finally(() => {
      for (const one of seen.values()) signal(one, 'SIGKILL');
    });
    await until('its private directory to go', () => !privateDirectories().some((path) => path.includes(`-${mine}-`)));
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    ...{ child, dir, log, says, processes, status, exited },
    connections: () => processes().filter(holdsConnection),
    text: () => text,
    connected: async (tunnel) => {
      await until(`${tunnel} to be connected`, async () => (await status(tunnel))['connected'] === true, {
        deadlineMs: 90_000,
        everyMs: 50,
        state: () => text,
      });
      processes();
    },
  };
};

/** A file of /proc about a process; empty where the process has ended meanwhile. */
export const readProc = ({ pid }: Process, file: 'cmdline' | 'environ'): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
};

/** Whether it is an ssh that holds a connection, and no client of the control socket of one. */
export const holdsConnection = (one: Process): boolean =>
  one.name === 'ssh' && readProc(one, 'cmdline').split('\0').includes('-N');

export { isAlive, processOf };
