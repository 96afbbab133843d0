import { type ChildProcess, spawn } from 'node:child_process';

/** A process that is started again whenever it ends, until it is told to end. */
export type Kept = {
  /** Resolves when it is gone for good. */
  readonly end: () => Promise<void>;
  /** No patience any more: SIGKILL. */
  readonly kill: () => void;
};

type KeepOptions = {
  /** Asked for each start, e.g. for a port that is free now. */
  readonly args: () => Promise<readonly string[]>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told of each end that nobody asked for, and of the pause until the next start in ms. */
  readonly onLost: (why: string, pauseMs: number) => void;
  /** Told when it has not ended in its time, and is killed for it. */
  readonly onStuck: () => void;
};

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** A process that lived this long was no bad start. */
const PROVEN_MS = 60_000;
/** A supervisor needs two seconds for an ssh that does not go, and one for its log. */
const PATIENCE_MS = 10_000;

/**
 * Keeps one of our own processes alive. It is told to end by the end of its standard input, which comes also when we are killed. Its log
 * is ours. In a session of its own: Ctrl-C is for us, who tell it in order, and not for it as well.
 */
export const keepProcess = ({ args, env, onLost, onStuck }: KeepOptions): Kept => {
  let child: ChildProcess | undefined;
  let ending = false;
  let timer: NodeJS.Timeout | undefined;
  let pauseMs = FIRST_PAUSE_MS;
  let gone = () => {};
  const done = new Promise<void>((resolve) => {
    gone = resolve;
  });

  const lost = (why: string, livedMs: number): void => {
    child = undefined;
    if (ending) {
      gone();
      return;
    }
    pauseMs = livedMs > PROVEN_MS ? FIRST_PAUSE_MS : pauseMs;
    onLost(why, pauseMs);
    timer = setTimeout(() => void start(), pauseMs);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  };
  const start = async (): Promise<void> => {
    const startedAt = performance.now();
    try {
      const [file, ...rest] = await args();
      if (ending) return gone();
      if (file === undefined) throw new Error('expected a program to start');
      const mine = spawn(file, rest, { stdio: ['pipe', 'ignore', 'inherit'], env, detached: true });
      child = mine;
      mine.stdin?.on('error', () => {});
      let problem: Error | undefined;
      mine.once('error', (error) => {
        problem = error;
        if (mine.pid === undefined) lost(error.message, 0);
      });
      mine.once('exit', (code, signal) => {
        if (problem === undefined) lost(signal ?? `exit code ${code}`, performance.now() - startedAt);
      });
    } catch (error) {
      lost((error as Error).message, performance.now() - startedAt);
    }
  };
  void start();

  return {
    end: async () => {
      ending = true;
      clearTimeout(timer);
      if (child === undefined) gone();
      child?.stdin?.end();
      const patience = setTimeout(() => {
        onStuck();
        child?.kill('SIGKILL');
      }, PATIENCE_MS);
      await done;
      clearTimeout(patience);
    },
    kill: () => void child?.kill('SIGKILL'),
  };
};
