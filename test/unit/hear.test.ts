import { describe, expect, it } from 'vitest';
import { type Heard, hear, isStarting } from '../../src/operator/hear.ts';

const ANSWER = { connected: true, suspended: false, reason: null, generation: 3, configAccepted: true };
const startedAt = 1_000;
/** What is known after one answer at 10 s and silences at these times, in seconds after it. */
const heardAfter = (...silences: readonly number[]): Heard | null =>
  silences.reduce<Heard | null>(
    (heard, seconds) => hear(heard ?? undefined, null, { now: 10_000 + seconds * 1000, startedAt }),
    hear(undefined, ANSWER, { now: 10_000, startedAt }),
  );

describe('what is known of a sidecar', () => {
  it.each<[string, readonly number[], boolean]>([
    ['its answer', [], true],
    ['the one before, after one silence', [30], true],
    ['the one before, after two', [30, 34], true],
    ['nothing after three', [30, 34, 38], false],
    ['nothing after 15 s of silence, however seldom it was asked', [30, 45], false],
    ['the one before, just before that', [30, 44.9], true],
    ['the one before, asked many times in one moment', [30, 30.1, 30.2, 30.3, 30.9], true],
    ['nothing, asked often for longer', [30, 30.5, 31, 31.5, 32], false],
    ['the one before, where the clock was set back in between', [30, 20], true],
    ['nothing after three, wherever the clock was set', [30, 20, 25], false],
  ])('%s', (_, silences, known) => {
    expect(heardAfter(...silences)?.answer ?? null).toEqual(known ? ANSWER : null);
  });

  it('is the newest answer, and the silences before count no more', () => {
    const down = { ...ANSWER, connected: false };
    const heard = hear(heardAfter(30, 34) ?? undefined, down, { now: 48_000, startedAt });
    expect(heard).toEqual({ answer: down, startedAt, silence: null });
    const silent = [50_000, 54_000].reduce<Heard | null>(
      (former, now) => hear(former ?? undefined, null, { now, startedAt }),
      heard,
    );
    expect(silent?.answer).toEqual(down);
  });

  it('is nothing of a container that was started again since', () => {
    expect(hear(heardAfter() ?? undefined, null, { now: 40_000, startedAt: 39_000 })).toBe(null);
  });

  it('is nothing of one that was never heard', () => {
    expect(hear(undefined, null, { now: 40_000, startedAt })).toBe(null);
  });
});

it('excuses the silence of a container that has just started', () => {
  expect([isStarting(1_000, 15_999), isStarting(1_000, 16_000)]).toEqual([true, false]);
});
