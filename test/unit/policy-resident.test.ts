import { describe, expect, it } from 'vitest';
import type { Reason } from '../../src/api/reasons.ts';
import { newTunnel, type Tunnel } from '../../src/tunnel/machine.ts';
import { residentPolicy } from '../../src/tunnel/policy-resident.ts';

const policy = residentPolicy({
  ...{
    bornAt: 0,
    periodMs: 5000,
    firstBeatMs: 1500,
    failureThreshold: 2,
    connectDeadlineMs: 20_000,
    killGraceMs: 5000,
  },
  ...{ provenMs: 30_000, retry: { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 } },
});
const at = (ms: number, random = 0) => ({ at: ms, random });
const failed = (reason: Reason, attempts: Partial<Tunnel['attempts']>): Tunnel => ({
  ...newTunnel(0),
  lastFailure: { reason, detail: '' },
  attempts: { network: 0, port: 0, auth: 0, ...attempts },
});

describe('the resident policy', () => {
  it.each([
    [null, {}, 0, 0],
    ['ConnectionRefused', { network: 0 }, 0.99, 0],
    ['ConnectionRefused', { network: 1 }, 0, 100],
    ['ConnectionRefused', { network: 9 }, 0.5, 2550],
    ['RemotePortBusy', { port: 1, network: 9 }, 0.5, 15_000],
    ['AuthFailed', { auth: 2 }, 0, 5000],
  ] as const)('after %s with %j pauses', (reason, attempts, random, pauseMs) => {
    const tunnel = reason === null ? newTunnel(0) : failed(reason, attempts);
    expect(policy.beforeStart(tunnel, at(0, random))).toEqual({ go: true, pauseMs, changes: {} });
  });

  it.each([
    ['never connected', null, { network: 2, port: 1, auth: 3 }],
    ['connected for too short a time', 70_001, { network: 2, port: 1, auth: 3 }],
    ['proven', 70_000, { network: 0, port: 0, auth: 0 }],
  ])('counts the failure of a connection that was %s', (_about, connectedAt, attempts) => {
    const tunnel: Tunnel = { ...failed('Unknown', { network: 1, port: 1, auth: 3 }), state: 'Connected', connectedAt };
    const exit = { code: 255, signal: null, reason: 'RemoteClosed', detail: '' } as const;
    expect(policy.afterExit(tunnel, exit, at(100_000))).toEqual({ next: { to: 'restart' }, changes: { attempts } });
    expect(policy.afterSick(tunnel, exit, at(100_000))).toEqual({ attempts });
  });

  it('never exits but on a stop', () => {
    for (const code of [0, 1, 2, 3, 127, 255])
      for (const spawnError of [{}, { spawnError: 'No such file or directory' }]) {
        const exit = { code, signal: null, reason: 'Unknown', detail: '', ...spawnError } as const;
        expect(policy.afterExit(newTunnel(0), exit, at(1)).next).toEqual({ to: 'restart' });
      }
    expect(policy.stopCode).toBe(0);
    expect(policy.lifetimeEndsAt).toBeNull();
  });

  it.each([
    ['the first after a login, at once', { state: 'Connecting' }, 1000],
    ['the second by AUTOSSH_FIRST_POLL', { state: 'Connected', goodBeats: 1 }, 2500],
    ['each further one by the period', { state: 'Connected', goodBeats: 2 }, 6000],
    ['the one after a failed one', { state: 'Connected', failedBeats: 1 }, 1250],
  ] as const)('beats in time: %s', (_about, changes, due) => {
    expect(policy.firstAlarmAt(newTunnel(0), at(1000))).toBeNull();
    expect(policy.nextAlarmAt({ ...newTunnel(0), ...changes }, at(1000))).toBe(due);
  });

  it('has the thresholds of now, whatever they were when it was made', () => {
    const options = {
      ...{ bornAt: 0, periodMs: 1, firstBeatMs: 1, failureThreshold: 2, connectDeadlineMs: 11_000, killGraceMs: 1 },
      ...{ provenMs: 1, retry: { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 } },
    };
    const live = residentPolicy(options);
    Object.assign(options, { failureThreshold: 8, connectDeadlineMs: 130_000 });
    expect(live).toMatchObject({ failureThreshold: 8, connectDeadlineMs: 130_000 });
  });
});
