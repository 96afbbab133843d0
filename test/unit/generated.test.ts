import { expect, it } from 'vitest';
import { drifted, GENERATED } from '../support/generate.ts';

it('generated files are as "npm run generate" makes them', () => {
  expect(Object.keys(GENERATED).length).toBeGreaterThan(0);
  expect(drifted()).toEqual([]);
});
