import { expect, it } from 'vitest';
import { type Event, newTunnel, step, type Tunnel } from '../../src/tunnel/machine.ts';
import { residentPolicy } from '../../src/tunnel/policy-resident.ts';
import {
  longestSilenceMs,
  narrate,
  newResidentState,
  observe,
  type ResidentState,
} from '../../src/tunnel/resident-state.ts';

const policy = residentPolicy({
  bornAt: 0,
  periodMs: 5_000,
  firstBeatMs: 0,
  failureThreshold: 2,
  connectDeadlineMs: 20_000,
  killGraceMs: 2_000,
  provenMs: 30_000,
  retry: { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 },
});

/** What is told after these events, one a second. */
const after = (...events: Event[]): { state: ResidentState; tunnel: Tunnel } => {
  let tunnel = newTunnel(0);
  let state = newResidentState;
  events.forEach((event, index) => {
    const at = (index + 1) * 1_000;
    const next = step(tunnel, event, { at, random: 0.5 }, policy).tunnel;
    state = observe(state, tunnel, event, next, at);
    tunnel = next;
  });
  return { state, tunnel };
};
const up: Event[] = [{ type: 'start' }, { type: 'spawned', pid: 1 }, { type: 'connected' }, { type: 'alarm' }];
const ok: Event = { type: 'beatOk', rttMs: 3 };
const lost: Event = { type: 'beatFailed', reason: 'HeartbeatLost', detail: 'nothing came' };

it('is connected when bytes went round, not when ssh has logged in', () => {
  expect(after(...up).state).toMatchObject({ connected: false, everConnected: false, starts: 1 });
  expect(after(...up, ok).state).toMatchObject({
    connected: true,
    everConnected: true,
    connectedSince: 5_000,
    lastRttMs: 3,
    reason: null,
  });
});

it('stays connected over a beat that failed once, and is not after the threshold', () => {
  expect(after(...up, ok, { type: 'alarm' }, lost).state).toMatchObject({ connected: true, failures: 0 });
  expect(after(...up, ok, { type: 'alarm' }, lost, { type: 'alarm' }, lost).state).toMatchObject({
    ...{ connected: false, connectedSince: null, everConnected: true, reason: 'HeartbeatLost', failures: 1 },
  });
});

it('beats again soon after a failed beat, and as usual after one that came back', () => {
  const beat: Event = { type: 'alarm' };
  expect(after(...up, ok, beat, lost).tunnel).toMatchObject({ failedBeats: 1, alarmAt: 7_250 });
  expect(after(...up, ok, beat, lost, beat, ok).tunnel).toMatchObject({ failedBeats: 0, alarmAt: 14_000 });
});

it('stays connected, and waits, while a beat is slow', () => {
  const slow: Event = { type: 'beatSlow', waitedMs: 3_000 };
  const { state, tunnel } = after(...up, ok, { type: 'alarm' }, slow, slow, slow);
  expect(state).toMatchObject({ connected: true, failures: 0 });
  expect(tunnel).toMatchObject({ state: 'Connected', beating: true, failedBeats: 0 });
  expect(narrate(tunnel, slow, tunnel, { at: 1, random: 0 })).toMatchObject({ level: 6, fields: { waitedMs: 3_000 } });
});

it('has the reason of the last failure until bytes go round again', () => {
  const refused: Event = { type: 'exited', code: 255, signal: null, reason: 'AuthFailed', detail: 'Permission denied' };
  expect(after(...up, refused).state).toMatchObject({
    connected: false,
    reason: 'AuthFailed',
    detail: 'Permission denied',
    failures: 1,
  });
  expect(after(...up, refused, { type: 'wait' }, { type: 'spawned', pid: 2 }).state).toMatchObject({
    reason: 'AuthFailed',
    failures: 1,
  });
});

it('knows how long nothing may happen in each state', () => {
  const limits = { connectDeadlineMs: 20_000, periodMs: 5_000, timeoutMs: 3_000, killGraceMs: 2_000 };
  expect(longestSilenceMs(after(...up).tunnel, limits)).toBe(8_000);
  expect(longestSilenceMs(after({ type: 'start' }, { type: 'spawned', pid: 1 }).tunnel, limits)).toBe(20_000);
  expect(longestSilenceMs(after({ type: 'suspend' }).tunnel, limits)).toBe(null);
});
