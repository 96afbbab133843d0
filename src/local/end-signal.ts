/** Waits to be told to end: Ctrl-C, `kill`, or the terminal that goes. */
export type EndSignal = {
  /** Resolves at the first signal. */
  readonly told: Promise<void>;
  readonly times: () => number;
  /** Calls back at every further signal. */
  readonly again: (listener: () => void) => void;
};

export const untilTold = (): EndSignal => {
  let times = 0;
  let resolve = () => {};
  const told = new Promise<void>((done) => {
    resolve = done;
  });
  const listeners: Array<() => void> = [];
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => {
      times++;
      resolve();
      if (times > 1) for (const listener of listeners) listener();
    });
  return { told, times: () => times, again: (listener) => void listeners.push(listener) };
};
