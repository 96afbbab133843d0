export type BackoffOptions = {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor: number;
  /** Adds up to this share of the wait, at random, so that many clients of a server that came back do not come in step. */
  readonly jitter: number;
  /** A pause between failures longer than this begins anew at `initialMs`. */
  readonly resetAfterMs: number;
  /** From 0 inclusive to 1 exclusive. */
  readonly random: () => number;
};

export type Backoff = {
  /** Milliseconds to wait after a failure at `now` (milliseconds). */
  readonly next: (now: number) => number;
  readonly reset: () => void;
};

/**
 * client-go tools/cache/reflector.go: from 800 ms, doubling, jitter 1.0, forgotten after 2 minutes of health. Up to 10 s and not
 * 30 s (60 s with jitter): an operator has a handful of watches, and a cache that is blind for a minute costs more than they do.
 */
export const REFLECTOR_BACKOFF: Omit<BackoffOptions, 'random'> = {
  initialMs: 800,
  maxMs: 10_000,
  factor: 2,
  jitter: 1,
  resetAfterMs: 120_000,
};

/** Exponential backoff with jitter that forgets (client-go util/wait, Backoff and DelayWithReset). */
export const createBackoff = (options: BackoffOptions): Backoff => {
  let base = options.initialMs;
  let last = Number.NEGATIVE_INFINITY;
  return {
    next: (now) => {
      if (now - last > options.resetAfterMs) base = options.initialMs;
      const wait = base * (1 + options.jitter * options.random());
      // The wait itself is no health: only what comes after it counts.
      last = now + wait;
      base = Math.min(options.maxMs, base * options.factor);
      return wait;
    },
    reset: () => {
      base = options.initialMs;
      last = Number.NEGATIVE_INFINITY;
    },
  };
};
