import { describe, expect, it } from 'vitest';
import { type Event, newTunnel, step, type Tunnel } from '../../src/tunnel/machine.ts';
import { residentPolicy } from '../../src/tunnel/policy-resident.ts';
import { longestSilenceMs, newResidentState, observe, type ResidentState } from '../../src/tunnel/resident-state.ts';

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
const lived = (...events: Event[]): { state: ResidentState; tunnel: Tunnel } => {
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
  expect(lived(...up).state).toMatchObject({ connected: false, everConnected: false, starts: 1 });
  expect(lived(...up, ok).state).toMatchObject({
    connected: true,
    everConnected: true,
    connectedSince: 5_000,
    lastRttMs: 3,
    reason: null,
  });
});

it('stays connected over a beat that failed once, and is not after the threshold', () => {
  expect(lived(...up, ok, { type: 'alarm' }, lost).state).toMatchObject({ connected: true, failures: 0 });
  expect(lived(...up, ok, { type: 'alarm' }, lost, { type: 'alarm' }, lost).state).toMatchObject({
    ...{ connected: false, connectedSince: null, everConnected: true, reason: 'HeartbeatLost', failures: 1 },
  });
});

it('beats again soon after a failed beat, and as usual after one that came back', () => {
  const beat: Event = { type: 'alarm' };
  expect(lived(...up, ok, beat, lost).tunnel).toMatchObject({ failedBeats: 1, alarmAt: 7_250 });
  expect(lived(...up, ok, beat, lost, beat, ok).tunnel).toMatchObject({ failedBeats: 0, alarmAt: 14_000 });
});

it('stays connected, and waits, while a beat is slow', () => {
  const slow: Event = { type: 'beatSlow', waitedMs: 3_000 };
  const { state, tunnel } = lived(...up, ok, { type: 'alarm' }, slow, slow, slow);
  expect(state).toMatchObject({ connected: true, failures: 0 });
  expect(tunnel).toMatchObject({ state: 'Connected', beating: true, failedBeats: 0 });
});

it('is not connected any more when a proven connection ends, although the next ssh is started at once', () => {
  const hour: Event[] = Array.from({ length: 60 }, (): Event[] => [{ type: 'alarm' }, ok]).flat();
  const ended: Event = { type: 'exited', code: 255, signal: null, reason: 'RemoteClosed', detail: 'closed' };
  const { state, tunnel } = lived(...up, ok, ...hour, ended);
  expect(tunnel.state).toBe('Connecting');
  expect(state).toMatchObject({ connected: false, sessionUp: false, reason: 'RemoteClosed', failures: 1 });
});

it('has the reason of the last failure until bytes go round again', () => {
  const refused: Event = { type: 'exited', code: 255, signal: null, reason: 'AuthFailed', detail: 'Permission denied' };
  expect(lived(...up, refused).state).toMatchObject({
    connected: false,
    reason: 'AuthFailed',
    detail: 'Permission denied',
    failures: 1,
  });
  expect(lived(...up, refused, { type: 'wait' }, { type: 'spawned', pid: 2 }).state).toMatchObject({
    reason: 'AuthFailed',
    failures: 1,
  });
});

describe('a beat that the server refuses', () => {
  const refused: Event = { type: 'beatRefused', reason: 'TargetUnreachable', detail: 'connect failed' };
  const alarm: Event = { type: 'alarm' };

  it('is no connection, but no reason to end ssh either, however often it comes', () => {
    const { state, tunnel } = lived(...up, ok, alarm, refused, alarm, refused, alarm, refused);
    expect(tunnel).toMatchObject({ state: 'Connected', failedBeats: 0, beating: false });
    expect(tunnel.alarmAt).not.toBe(null);
    expect(state).toMatchObject({
      ...{ connected: false, sessionUp: true, connectedSince: null, reason: 'TargetUnreachable', failures: 1 },
      detail: 'connect failed',
    });
    expect(lived(...up, ok, alarm, refused, alarm, ok).state).toMatchObject({ connected: true, reason: null });
  });

  it('starts the count of lost beats anew: the server was heard', () => {
    expect(lived(...up, ok, alarm, lost, alarm, refused, alarm, lost).tunnel).toMatchObject({
      ...{ state: 'Connected', failedBeats: 1 },
    });
    expect(lived(...up, ok, alarm, refused, alarm, lost, alarm, lost)).toMatchObject({
      tunnel: { state: 'Ending' },
      state: { sessionUp: false, reason: 'HeartbeatLost', failures: 2 },
    });
  });
});

it('is connected without a beat where none is made, and claims none', () => {
  expect(lived(...up, { type: 'beatOk', rttMs: null }).state).toMatchObject({
    ...{ connected: true, sessionUp: true, lastBeatAt: null, lastRttMs: null },
  });
});

it('knows how long nothing may happen in each state', () => {
  const beats = { periodMs: 5_000, firstBeatMs: 60_000, timeoutMs: 3_000 };
  const limits = { ...beats, connectDeadlineMs: 20_000, killGraceMs: 2_000 };
  expect(longestSilenceMs(lived(...up).tunnel, limits)).toBe(8_000);
  expect(longestSilenceMs(lived(...up, ok).tunnel, limits)).toBe(63_000);
  expect(longestSilenceMs(lived(...up, ok, { type: 'alarm' }, ok).tunnel, limits)).toBe(8_000);
  expect(longestSilenceMs(lived({ type: 'start' }, { type: 'spawned', pid: 1 }).tunnel, limits)).toBe(20_000);
  expect(longestSilenceMs(lived({ type: 'suspend' }).tunnel, limits)).toBe(null);
});
