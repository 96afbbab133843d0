import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export type Output = { stdout: string; stderr: string; code: number };

export type RunOptions = {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  input?: string;
  signal?: AbortSignal;
};

/** Runs a program to its end. A failure of the program is a code, not a throw; only a program that cannot start throws. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
  const [file, ...args] = dyingWithUs(argv);
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: options.cwd,
      env: options.env,
      signal: options.signal,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on('error', () => {}); // a program that ends without reading its input says so by its code
    child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const text = Buffer.concat(stderr).toString();
      resolve({
        stdout: Buffer.concat(stdout).toString(),
        stderr: signal ? `${text}\n(ended by ${signal})` : text,
        code: code ?? 128,
      });
    });
  });
}

/** Runs a program that must succeed, and returns what it printed. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { stdout, stderr, code } = await run(argv, options);
  if (code !== 0) {
    throw new Error(
      `expected \`${argv.join(' ')}\` to succeed; got exit code ${code}: ${lastLines(stderr || stdout, 20)}`,
    );
  }
  return stdout;
}

export type Daemon = {
  readonly name: string;
  readonly pid: number;
  running(): boolean;
  /** Null while it runs, and when a signal ended it. */
  exitCode(): number | null;
  /** SIGTERM, and SIGKILL when it is not gone after the grace period. */
  stop(graceSeconds?: number): Promise<void>;
  kill(): Promise<void>;
  /** The end of its log, for the message of whoever waited in vain. */
  logTail(): string;
};

export type DaemonOptions = { argv: readonly string[]; logFile: string; env: NodeJS.ProcessEnv };

/** Starts a program that stays; its output goes to a file, which needs no one to drain it. */
export function startDaemon(name: string, { argv, logFile, env }: DaemonOptions): Daemon {
  const log = openSync(logFile, 'a', 0o600);
  const [file, ...args] = dyingWithUs(argv);
  const child = spawn(file, args, { env, stdio: ['ignore', log, log] });
  closeSync(log);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const end = async (signal: NodeJS.Signals, graceSeconds: number) => {
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), graceSeconds * 1000);
    await ended;
    clearTimeout(timer);
  };
  return {
    name,
    pid: child.pid ?? -1,
    running: () => isRunning(child),
    exitCode: () => child.exitCode,
    stop: (graceSeconds = 30) => (isRunning(child) ? end('SIGTERM', graceSeconds) : Promise.resolve()),
    kill: () => (isRunning(child) ? end('SIGKILL', 0) : Promise.resolve()),
    logTail: () => `--- end of ${logFile} ---\n${lastLines(readFileSync(logFile, 'utf8'), 20)}`,
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/**
 * The kernel ends the program when the thread that started it ends: a test runner that is killed cannot clean up.
 * A thread, not a process: start clusters from the main thread (vitest's pool `forks`, not `threads`).
 */
export function dyingWithUs(argv: readonly string[], signal = 'KILL'): [string, ...string[]] {
  if (process.platform !== 'linux') return argv as [string, ...string[]];
  return ['setpriv', '--pdeathsig', signal, ...argv];
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}
