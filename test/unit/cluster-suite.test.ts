import { describe, expect, it } from 'vitest';
import { verdict } from '../support/cluster/verdict.ts';

describe('whether a node can be run here', () => {
  it('can, as root on Linux', () => {
    expect(verdict({ platform: 'linux', uid: 0, ci: false })).toEqual({ run: true });
    expect(verdict({ platform: 'linux', uid: 0, ci: true })).toEqual({ run: true });
  });

  it.each([
    [{ platform: 'linux', uid: 1000 }, 'this is uid 1000'],
    [{ platform: 'darwin', uid: 0 }, 'this is darwin'],
    [{ platform: 'win32', uid: undefined }, 'this is win32'],
  ] as const)('leaves it out, and fails in CI: %o', (machine, why) => {
    expect(verdict({ ...machine, ci: false })).toEqual({ run: false, fail: false, why: expect.stringContaining(why) });
    expect(verdict({ ...machine, ci: true })).toEqual({ run: false, fail: true, why: expect.stringContaining(why) });
  });
});
