/** Time as the runtime sees it, passed in so that tests can own it: what k8s.io/utils/clock is to client-go. */
export type Clock = {
  /** Milliseconds on a clock that never jumps. Only differences mean something. */
  readonly now: () => number;
  /** The time of day, for what people and other programs read. Never used to decide how long something took. */
  readonly date: () => Date;
  /** Calls back once, after `ms` milliseconds. The returned function takes it back. */
  readonly after: (ms: number, callback: () => void) => () => void;
};

/** setTimeout cannot wait longer than this (2^31 ms, almost 25 days); more than this it would turn into 1 ms. */
const LONGEST_MS = 0x7fffffff;

export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, Math.min(Math.max(0, ms), LONGEST_MS));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms` milliseconds or, without an error, as soon as `signal` is aborted. */
export const sleep = (clock: Clock, ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = () => {
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = clock.after(ms, finish);
    signal?.addEventListener('abort', finish, { once: true });
  });
