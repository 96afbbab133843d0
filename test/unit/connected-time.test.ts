import { expect, it } from 'vitest';
import { connectedTime } from '../../src/tunnel/connected-time.ts';

it('counts the time between the looks, from the one that found a connection to the one that found none', () => {
  const counted: number[] = [];
  const look = connectedTime((seconds) => counted.push(seconds));
  for (const [connected, at] of [
    [false, 1_000],
    [true, 2_500],
    [true, 3_500],
    // Looks come late where the machine is busy.
    [true, 9_500],
    [false, 9_750],
    [false, 20_000],
    [true, 21_000],
    [false, 21_100],
  ] as const)
    look(connected, at);
  expect(counted).toEqual([1, 6, 0.25, 0.1]);
});
