import { channelRefusal } from '../tunnel/failure.ts';

/** Why the server last refused a channel, as ssh says it on stderr: only there is the cause told. */
export type Refusals = {
  /** One line of ssh's stderr. */
  readonly note: (line: string) => void;
  /** From now on: the cause of the first refusal since, or null. It may be that of another connection that failed meanwhile. */
  readonly watch: () => () => string | null;
};

/** More than come in the time of one probe, or they are too many to be told apart. */
const KEPT = 100;

export const noteRefusals = (): Refusals => {
  /** Of the last refusals; `count` is that of all. */
  const kept: string[] = [];
  let count = 0;
  return {
    note: (line) => {
      const refusal = channelRefusal(line);
      if (refusal === null) return;
      kept.push(refusal);
      if (kept.length > KEPT) kept.shift();
      count++;
    },
    watch: () => {
      const from = count;
      return () => (count === from ? null : (kept.at(Math.max(from - count, -kept.length)) ?? null));
    },
  };
};
