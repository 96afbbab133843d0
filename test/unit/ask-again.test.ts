import { describe, expect, it } from 'vitest';
import { askAgainAfterMs, lookLaterMs, lookSoonMs } from '../../src/operator/ask-again.ts';

const NOW = new Date('2026-11-24T12:00:00Z');
const ready = (status: 'True' | 'False' | 'Unknown', seconds: number) => ({
  type: 'Ready',
  status,
  reason: 'Any',
  message: '',
  lastTransitionTime: new Date(NOW.getTime() - seconds * 1000).toISOString(),
});

describe('the pods of a tunnel are asked again', () => {
  it.each([
    ['ready', ready('True', 5), 30_000],
    ['not ready since just now', ready('False', 0), 2_000],
    ['not ready since 20 s', ready('False', 20), 2_000],
    ['not ready since 2 min', ready('Unknown', 120), 12_000],
    ['not ready since a day', ready('False', 86_400), 30_000],
    ['not ready, by a clock that is ahead', ready('False', -500), 2_000],
    ['not ready since nobody knows when', { ...ready('False', 0), lastTransitionTime: 'x' }, 30_000],
    ['without the condition', undefined, 30_000],
  ])('%s', (_, condition, ms) => {
    expect(askAgainAfterMs(condition, null, NOW, 0.5)).toBe(ms);
    expect(askAgainAfterMs(condition, null, NOW, 0)).toBe(ms * 0.8);
    expect(askAgainAfterMs(condition, null, NOW, 0.999999)).toBeCloseTo(ms * 1.2, -1);
  });

  it.each([
    ['of a tunnel that was changed just now, though it is ready', ready('True', 500), 0, 2_000],
    ['of one that was changed 5 min ago', ready('True', 500), 300, 30_000],
    ['of one changed just now and long not ready', ready('False', 500), 0, 2_000],
    ['of one not ready since just now and changed long ago', ready('False', 0), 500, 2_000],
  ])('%s', (_, condition, seconds, ms) => {
    expect(askAgainAfterMs(condition, NOW.getTime() - seconds * 1000, NOW, 0.5)).toBe(ms);
  });
});

it('looks again in time for what no watch tells, and not at everything at once', () => {
  expect([0, 0.5].map(lookSoonMs)).toEqual([1_600, 2_000]);
  expect([0, 0.5].map(lookLaterMs)).toEqual([24_000, 30_000]);
});
