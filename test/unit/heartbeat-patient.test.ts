import { setImmediate as nextLook, setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type Beat, lost } from '../../src/supervisor/heartbeat.ts';
import { judged } from '../../src/supervisor/heartbeat-judged.ts';
import { type PatientOptions, patiently } from '../../src/supervisor/heartbeat-patient.ts';

/** The process does nothing, not even look at its sockets, as on a machine that is too busy. */
const halt = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const STILL: PatientOptions = { timeoutMs: 400, glance: () => null, onSlow: () => {} };
/** A connection on which bytes move all the time. */
const busy = (timeoutMs: number): PatientOptions => ({
  ...STILL,
  timeoutMs,
  glance: () => ({ at: performance.now(), writtenBytes: performance.now(), unackedBytes: 0, rtoMs: 200 }),
});
const { signal } = new AbortController();
const OK: Beat = { ok: true, rttMs: 1 };
const after = async (ms: number, beat: Beat, enough: AbortSignal): Promise<Beat> => {
  await pause(ms, null, { signal: enough });
  return beat;
};
const never = (enough: AbortSignal) => after(300_000, OK, enough).catch(() => lost('ended'));

it('looks for what came while this process stood still before it gives up', async () => {
  const work = async () => {
    for (let looks = 0; looks < 5; looks++) await nextLook();
    return 'answer';
  };
  const result = patiently(work, signal, STILL);
  halt(1_500);
  expect(await result).toBe('answer');
});

it('ends what it waits for when nothing moves', async () => {
  let ended = false;
  const work = async (enough: AbortSignal) => {
    await never(enough);
    ended = true;
  };
  expect(await patiently(work, signal, STILL)).toBeNull();
  expect(ended).toBe(true);
});

const target = (ms: number | null) => (_timeoutMs: number, enough: AbortSignal) =>
  ms === null ? never(enough) : after(ms, OK, enough).catch(() => lost('ended'));
const judge = (proofMs: number | null, pingMs: number | null, patience: PatientOptions) =>
  judged(target(proofMs), { ping: target(pingMs), patience, silence: (ms) => `silent for ${ms} ms` }, signal);

it.each([
  ['an answer in time', 50, 1, STILL, OK],
  ['a silent target of a server that answers, on a still connection', null, 1, STILL, 'TargetUnreachable'],
  ['a silent server', null, null, STILL, 'HeartbeatLost'],
  ['a silent target on a quick and busy connection', null, 1, busy(400), 'TargetUnreachable'],
  ['an answer that is as late as the way is slow', 2_400, 1_000, busy(400), OK],
])('%s', { timeout: 60_000 }, async (_what, proofMs, pingMs, patience, expected) => {
  const beat = await judge(proofMs, pingMs, patience);
  if (typeof expected !== 'string') expect(beat).toEqual(expected);
  else expect(beat).toMatchObject({ ok: false, reason: expected, detail: 'silent for 400 ms' });
});
