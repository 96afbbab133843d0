import { channelRefusal } from '../tunnel/failure.ts';

/** Why the server last refused a channel, as ssh says it on stderr: only there is the cause told. */
export type Refusals = {
  /** One line of ssh's stderr. */
  readonly note: (line: string) => void;
  /** From now on: the cause of the last refusal since, or null. It may be that of another connection that failed meanwhile. */
  readonly watch: () => () => string | null;
};

export const noteRefusals = (): Refusals => {
  let count = 0;
  let last: string | null = null;
  return {
    note: (line) => {
      const refusal = channelRefusal(line);
      if (refusal === null) return;
      last = refusal;
      count++;
    },
    watch: () => {
      const from = count;
      return () => (count === from ? null : last);
    },
  };
};
