import { describe } from 'vitest';

/** `describe` where nothing is `missing`. Else the suite is skipped aloud; with CI=true nothing may be skipped, so it throws. */
export const describeWith = (missing: string | null) => {
  if (missing === null) return describe;
  if (process.env['CI']) throw new Error(`nothing is skipped with CI set: ${missing}`);
  console.warn(`SKIPPED: ${missing}`);
  return describe.skip;
};
