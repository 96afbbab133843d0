import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { keepListening } from '../../src/supervisor/keep-listening.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A server that the given problems keep from listening, one after the other; `null` is none. */
const start = (problems: (string | null)[]) => {
  const begun = Date.now();
  const tries: number[] = [];
  const told: string[] = [];
  let open = 0;
  const serve = async () => {
    tries.push((Date.now() - begun) / 1000);
    const code = problems[tries.length - 1];
    if (code) throw Object.assign(new Error(`listen ${code}`), { code });
    open++;
    return { close: () => void open-- };
  };
  const server = keepListening(serve, {
    ...{ host: '127.0.0.1', port: 9322, setting: '--http-port' },
    onServed: () => told.push('served'),
    onProblem: (problem) => told.push(problem),
  });
  return { tries, told, open: () => open, close: server.close };
};

it('tries after 1 s, doubled up to 30 s, and tells of a problem once', async () => {
  const { tries, told, open } = start([...Array(7).fill('EADDRINUSE'), 'EACCES', 'EACCES', null]);
  await vi.advanceTimersByTimeAsync(200_000);
  expect(tries).toEqual([0, 1, 3, 7, 15, 31, 61, 91, 121, 151]);
  expect(told).toEqual([
    'expected port 9322 of 127.0.0.1 to be free; got EADDRINUSE: end what uses it or set another (--http-port); it is tried again',
    'expected to listen on port 9322 of 127.0.0.1; got EACCES: set another (--http-port); it is tried again',
    'served',
  ]);
  expect(open()).toBe(1);
});

it('tries no more once it is closed, and leaves nothing open that comes too late', async () => {
  const refused = start(Array(9).fill('EADDRINUSE'));
  await vi.advanceTimersByTimeAsync(2_000);
  refused.close();
  await vi.advanceTimersByTimeAsync(100_000);
  expect(refused.tries).toEqual([0, 1]);
  const late = start([null]);
  late.close();
  await vi.advanceTimersByTimeAsync(1);
  expect([late.told, late.open()]).toEqual([[], 0]);
});
