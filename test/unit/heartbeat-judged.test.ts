import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type Beat, lost } from '../../src/supervisor/heartbeat.ts';
import { judged } from '../../src/supervisor/heartbeat-judged.ts';
import type { PatientOptions } from '../../src/supervisor/heartbeat-patient.ts';

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
