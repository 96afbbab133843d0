export type TokenBucket = {
  /** Takes a token, on credit if there is none. Returns how long to wait for it, in milliseconds. */
  readonly reserve: (now: number) => number;
  /** Takes a token if there is one. */
  readonly take: (now: number) => boolean;
  /** Nothing was taken for so long that the bucket is as new. */
  readonly full: (now: number) => boolean;
};

/** So many at once, and so many a second after that (golang.org/x/time/rate). Times are milliseconds. */
export const createTokenBucket = (options: {
  readonly perSecond: number;
  readonly burst: number;
  readonly now: number;
}): TokenBucket => {
  const perMs = options.perSecond / 1000;
  let tokens = options.burst;
  let last = options.now;
  const refill = (now: number) => {
    tokens = Math.min(options.burst, tokens + Math.max(0, now - last) * perMs);
    last = Math.max(last, now);
  };
  return {
    reserve: (now) => {
      refill(now);
      tokens -= 1;
      return tokens >= 0 ? 0 : -tokens / perMs;
    },
    take: (now) => {
      refill(now);
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
    full: (now) => {
      refill(now);
      return tokens >= options.burst;
    },
  };
};
