import { expect, it } from 'vitest';
import { patiently } from '../../src/supervisor/heartbeat-patient.ts';

const options = (timeoutMs: number) => ({ timeoutMs, glance: () => null, onSlow: () => {} });
/** This process stands still, as where the machine does. */
const halt = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
/** Work of several looks at the world, none of which takes long. */
const looks = async (count: number, signal: AbortSignal): Promise<string> => {
  for (let look = 0; look < count; look++) {
    await new Promise((next) => setTimeout(next, 10));
    signal.throwIfAborted();
  }
  return 'an answer';
};

it('gives up work that takes longer than the timeout while nothing is seen to move', async () => {
  const never = (signal: AbortSignal) =>
    new Promise<string>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  expect(await patiently(never, new AbortController().signal, options(50))).toBeNull();
});

it('does not count the time for which this process stood still', async () => {
  const result = patiently((signal) => looks(5, signal), new AbortController().signal, options(1_000));
  halt(2_500);
  expect(await result).toBe('an answer');
});
