import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { watchSources } from '../../src/local/watch-sources.ts';

describe('the files of a run', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const LOOK_MS = 500;

  const watched = (first: string, texts: string[]) => {
    const seen: string[] = [];
    let now = texts[0] ?? '';
    const { stop } = watchSources(
      first,
      () => {
        now = texts.shift() ?? now;
        return now;
      },
      () => void seen.push(now),
    );
    vi.advanceTimersByTime(20 * LOOK_MS);
    stop();
    return seen;
  };

  it('are edited when they stay as they are for two looks', () => {
    expect(watched('a', ['a', 'b', 'b', 'b', 'c', 'c'])).toEqual(['b', 'c']);
  });

  it('are not edited by what comes and goes', () => {
    expect(watched('a', ['', 'a', 'b', 'a'])).toEqual([]);
  });

  it('are edited also by what came between their first reading and the first look', () => {
    expect(watched('a', ['b'])).toEqual(['b']);
  });
});
