import type { TestContext } from 'vitest';

/** Lets so many concurrent tests go at a time: each starts programs of its own, and two cores carry only so many. */
export const turnsOf = (most: number): ((context: Pick<TestContext, 'onTestFinished'>) => Promise<void>) => {
  let free = most;
  const waiting: (() => void)[] = [];
  const next = () => {
    const first = waiting.shift();
    if (first === undefined) free++;
    else first();
  };
  return async ({ onTestFinished }) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    // Registered first, so that it comes last: everything of this test has ended then.
    onTestFinished(next);
  };
};
