import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Glance, isFlowing, observeTraffic, type Traffic } from '../../src/tunnel/traffic.ts';

const seen = (...glances: Glance[]): Traffic => {
  const [first, ...rest] = glances;
  if (first === undefined) throw new Error('expected a glance');
  return rest.reduce(observeTraffic, observeTraffic(null, first));
};
const at = (ms: number, writtenBytes: number, unackedBytes: number, rtoMs = 200): Glance => ({
  ...{ at: ms, writtenBytes, unackedBytes, rtoMs },
});

describe('traffic', () => {
  it('is not proven by one look', () => {
    expect(isFlowing(seen(at(1000, 5000, 0)), 1000)).toBe(false);
  });

  it.each([
    ['acknowledgements of an upload whose buffer stays full', at(2000, 9000, 4000), true],
    ['an upload whose buffer grows faster than it is acknowledged', at(2000, 20_000, 14_000), true],
    ['bytes received and passed on', at(2000, 6000, 4000), true],
    ['an app that sends into a dead path', at(2000, 90_000, 89_000), false],
    ['nothing at all', at(2000, 5000, 4000), false],
  ])('%s', (_what, then, flows) => {
    expect(isFlowing(seen(at(1000, 5000, 4000), then), 3000)).toBe(flows);
  });

  it('is over 2 s after the last byte on a quick path, later on a slow one, and never later than 20 s', () => {
    for (const [rtoMs, most] of [
      [200, 2_000],
      [3_000, 6_000],
      [60_000, 20_000],
    ] as const) {
      const traffic = seen(at(0, 0, 0), at(1_000, 100, 0, rtoMs));
      expect(isFlowing(traffic, 1_000 + most)).toBe(true);
      expect(isFlowing(traffic, 1_001 + most)).toBe(false);
    }
  });

  it('never flows in a black hole, whatever is written into it', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.array(fc.nat({ max: 1_000_000 })), (base, unacked, writes) => {
        let [written, waiting, now] = [base + unacked, unacked, 0];
        const glances = [at(now, written, waiting)];
        for (const bytes of writes) {
          now += 250;
          written += bytes;
          waiting += bytes;
          glances.push(at(now, written, waiting));
        }
        expect(isFlowing(seen(...glances), now)).toBe(false);
      }),
    );
  });
});
