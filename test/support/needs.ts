import { execFileSync } from 'node:child_process';
import { it } from 'vitest';

/** `it` where nothing is `missing`. Else its tests are skipped aloud; with CI set nothing may be skipped, so it throws. */
export const itWith = (missing: string | null) => {
  if (missing === null) return it;
  if (process.env['CI']) throw new Error(`nothing is skipped with CI set: ${missing}`);
  console.warn(`SKIPPED: ${missing}`);
  return it.skip;
};

/** Why a command fails here that shows whether `what` can be had, or null. */
export const whyNot = (what: string, expected: string, [file, ...args]: readonly [string, ...string[]]) => {
  try {
    execFileSync(file, args, { stdio: 'pipe' });
    return null;
  } catch (problem) {
    return `no ${what}: expected ${expected}, got ${String((problem as Error).message).split('\n')[0]}`;
  }
};
