import { setTimeout as sleep } from 'node:timers/promises';

export type UntilOptions = {
  /** Generous: it bounds a failure, it does not pace a success. */
  seconds: number;
  everyMilliseconds?: number;
  /** What to show of the last state when the deadline passes, say the end of a log. */
  explain?: () => string | Promise<string>;
};

/**
 * Waits for a condition instead of a time. `probe` returns the awaited value, or undefined for "not yet";
 * a throw counts as "not yet" too and is told if the deadline passes.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  { seconds, everyMilliseconds = 100, explain }: UntilOptions,
): Promise<T> {
  const deadline = performance.now() + seconds * 1000;
  let cause: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined) return value;
      cause = undefined;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      cause = error;
    }
    if (performance.now() > deadline) {
      const why = cause instanceof Error ? cause.message : 'not yet';
      const more = explain ? `\n${await explain()}` : '';
      throw new Error(`expected ${what} within ${seconds} s; got: ${why}${more}`, { cause });
    }
    await sleep(everyMilliseconds);
  }
}

/** Thrown by a probe that knows that waiting longer is in vain, say because the process has ended. */
export class Hopeless extends Error {}
