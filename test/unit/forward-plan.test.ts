import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DocumentForward } from '../../src/api/document.ts';
import { forwardKey, forwardPlan } from '../../src/tunnel/forward-plan.ts';

const port = fc.integer({ min: 1, max: 4 });
const listen = fc.record({ host: fc.constantFrom('127.0.0.1', '*'), port });
const target = fc.record({ host: fc.constantFrom('db', 'queue'), port });
const name = fc.constantFrom('a', 'b', 'c', 'd');
const forward: fc.Arbitrary<DocumentForward> = fc.oneof(
  fc.record({ kind: fc.constantFrom('local' as const, 'remote' as const), name, listen, target }),
  fc.record({ kind: fc.constant('dynamic' as const), name, listen }),
  fc.record({ kind: fc.constant('local' as const), name, listen: fc.constant({ path: '/run/s' }), target }),
);
/** No two at one listener: that is refused before. */
const place = ({ kind, listen }: DocumentForward) =>
  `${kind === 'remote' ? 'there' : 'here'} ${'path' in listen ? listen.path : `${listen.host}:${listen.port}`}`;
const forwards = fc.uniqueArray(forward, { selector: place, maxLength: 8 });
const keys = (list: readonly DocumentForward[]) => list.map(forwardKey).sort();

describe('the plan from old forwards to new ones', () => {
  it('leads from any set to any other, never over two at one listener', () => {
    fc.assert(
      fc.property(forwards, forwards, (before, after) => {
        const there = new Map(before.map((one) => [place(one), forwardKey(one)]));
        for (const { do: verb, forward } of forwardPlan(before, after)) {
          const now = there.get(place(forward));
          expect(now).toBe(verb === 'add' ? undefined : forwardKey(forward));
          if (verb === 'add') there.set(place(forward), forwardKey(forward));
          else there.delete(place(forward));
        }
        expect([...there.values()].sort()).toEqual(keys(after));
      }),
      { numRuns: 2_000 },
    );
  });

  it('leaves alone what ssh would not see: names, probes, the order', () => {
    fc.assert(
      fc.property(forwards, fc.infiniteStream(name), (before, names) => {
        const after = before.map((one) => ({ ...one, name: names.next().value ?? 'x' })).reverse();
        expect(forwardPlan(before, after)).toEqual([]);
      }),
    );
  });

  it('touches nothing that is in both', () => {
    fc.assert(
      fc.property(forwards, forwards, (before, after) => {
        const both = keys(before).filter((key) => keys(after).includes(key));
        for (const { forward } of forwardPlan(before, after)) expect(both).not.toContain(forwardKey(forward));
      }),
    );
  });
});
