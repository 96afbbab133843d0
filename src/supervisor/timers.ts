/** setTimeout cannot wait longer than this (2^31 ms, almost 25 days); a longer wait is made of several. */
const LONGEST_MS = 0x7fffffff;

/** Timers by name, on the monotonic clock of performance.now(): setting one again replaces it. */
export type Timers<Name extends string> = {
  readonly set: (name: Name, at: number) => void;
  readonly clear: (name: Name) => void;
  readonly clearAll: () => void;
};

/** Calls `onTimer` once for each timer, not before its time. */
export const createTimers = <Name extends string>(onTimer: (name: Name) => void): Timers<Name> => {
  const running = new Map<Name, NodeJS.Timeout>();
  const clear = (name: Name) => {
    clearTimeout(running.get(name));
    running.delete(name);
  };
  const arm = (name: Name, at: number) => {
    const wait = Math.max(0, Math.ceil(at - performance.now()));
    const fire = () => {
      if (performance.now() < at) return arm(name, at);
      running.delete(name);
      onTimer(name);
    };
    running.set(name, setTimeout(fire, Math.min(wait, LONGEST_MS)));
  };
  return {
    set: (name, at) => {
      clear(name);
      arm(name, at);
    },
    clear,
    clearAll: () => {
      for (const name of [...running.keys()]) clear(name);
    },
  };
};
