import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { execa } from 'execa';
import { findProgram, whyNotRun } from './find-program.ts';
import { workingDirectory } from './working-directory.ts';

/** How an ssh is to be run. */
export type SshOptions = {
  /** The program: a path, or a name along PATH. */
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether it has our terminal and our standard input and output (the drop-in), or none (background, sidecar). */
  readonly attached: boolean;
  /** Every piece of its stderr, as it comes. It must be read always: a full pipe freezes the whole tunnel. */
  readonly onStderr: (chunk: Uint8Array) => void;
  /** Called once, when it has ended and its stderr is read to the end. */
  readonly onExit: (exit: { readonly code: number | null; readonly signal: number | null }) => void;
};

/** A running ssh; or the system's words for why there is none. */
export type SshProcess =
  | { readonly pid: number; readonly kill: (signal: 'SIGTERM' | 'SIGKILL') => void }
  | { readonly spawnError: string };

/**
 * Starts ssh without a shell. It cannot outlive us, not even if we are killed by SIGKILL: setpriv(1) arms a parent death signal
 * where there is one (Linux). With a terminal that signal is SIGTERM, so that ssh can put the terminal right again.
 *
 * Must be called on the main thread: the death signal follows the thread that started the child.
 */
export const startSsh = (options: SshOptions): SshProcess => {
  const program = findProgram(options.path, options.env['PATH']);
  if (program === null) return { spawnError: whyNotRun(options.path) };
  const guard = findProgram('setpriv');
  const deathSignal = options.attached && process.stdin.isTTY ? 'TERM' : 'KILL';
  const [file, args]: [string, readonly string[]] =
    guard === null ? [program, options.args] : [guard, ['--pdeathsig', deathSignal, '--', program, ...options.args]];
  const running = execa(file, args, {
    stdin: options.attached ? 'inherit' : 'ignore',
    stdout: options.attached ? 'inherit' : 'ignore',
    stderr: 'pipe',
    buffer: false,
    reject: false,
    cwd: workingDirectory(),
    env: options.env,
    extendEnv: false,
    cleanup: guard === null,
    forceKillAfterDelay: false,
    // A group of its own takes the helpers of ssh (jump hosts, ProxyCommand) along; an ssh with our terminal must stay in ours,
    // or it could not ask for a password.
    killDescendants: !options.attached,
    maxBuffer: Number.POSITIVE_INFINITY,
  });
  const child = running.nodeChildProcess;
  const pid = child.pid;
  if (pid === undefined) {
    running.catch(() => {});
    return { spawnError: 'could not be started' };
  }
  child.stderr?.on('data', (chunk: Uint8Array) => options.onStderr(chunk));
  // A helper that waits for a silent host does not notice that ssh is gone: it is told.
  let helpers: number[] = [];
  let asked: 'SIGTERM' | 'SIGKILL' = 'SIGTERM';
  let look: NodeJS.Timeout | undefined;
  child.once('exit', () => {
    clearInterval(look);
    for (const helper of helpers) killQuietly(helper, asked);
  });
  void settled(child).then(options.onExit);
  return {
    pid,
    kill: (signal) => {
      helpers = childrenOf(pid);
      asked = signal;
      running.kill(signal);
      look ??= setInterval(lookAfterChildren, LOOK_EVERY_MS);
    },
  };
};

/**
 * A flood of other signals (SIGUSR1 in a tight loop) can fill libuv's signal pipe, which then loses a SIGCHLD, and with it the end of
 * ssh for ever. Another one makes libuv look at every child.
 */
const lookAfterChildren = () => process.kill(process.pid, 'SIGCHLD');
const LOOK_EVERY_MS = 1_000;

/** ssh's end: its own exit, and then the end of its stderr, but not for longer than a moment: a helper may hold it open. */
const settled = (child: {
  once(event: string, listener: (...args: never[]) => void): unknown;
}): Promise<{ code: number | null; signal: number | null }> =>
  new Promise((resolve) => {
    child.once('exit', (code: number | null, signal: NodeJS.Signals | null) => {
      const exit = { code, signal: signal === null ? null : constants.signals[signal] };
      // After a halt of this process Node runs its timers first: one look at what ssh has said before the verdict.
      const timer = setTimeout(() => setImmediate(() => resolve(exit)), DRAIN_MS);
      child.once('close', () => {
        clearTimeout(timer);
        resolve(exit);
      });
    });
  });

const DRAIN_MS = 200;

/** The direct children of a process, from /proc; none where there is no /proc. */
const childrenOf = (pid: number): number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
};

const killQuietly = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone already.
  }
};
