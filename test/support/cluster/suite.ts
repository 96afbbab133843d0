import { describe, expect, it } from 'vitest';
import { thisMachine, verdict } from './verdict.ts';

/** `describe` for tests on a real node. Where none can be run it says what is left out, and fails instead when CI is set. */
export function describeCluster(name: string, body: () => void): void {
  const judged = verdict(thisMachine());
  if (judged.run) {
    describe(name, body);
    return;
  }
  if (judged.fail) it(name, () => expect.fail(`expected to run on a real node; ${judged.why}`));
  else {
    console.warn(`left out: ${name}. Reason: ${judged.why}`);
    describe.skip(name, body);
  }
}
