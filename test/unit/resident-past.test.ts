import { expect, it } from 'vitest';
import { type Event, newTunnel, step, type Tunnel } from '../../src/tunnel/machine.ts';
import { residentPolicy } from '../../src/tunnel/policy-resident.ts';
import { MOST_BEATS, MOST_FAILURES, MOST_LINES } from '../../src/tunnel/resident-past.ts';
import { newResidentState, observe, type ResidentState } from '../../src/tunnel/resident-state.ts';

const policy = residentPolicy({
  ...{ bornAt: 0, periodMs: 5_000, firstBeatMs: 0, failureThreshold: 2, connectDeadlineMs: 20_000, killGraceMs: 2_000 },
  ...{ provenMs: 30_000, retry: { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 } },
});
const from = () => {
  let tunnel: Tunnel = newTunnel(0);
  let state: ResidentState = newResidentState;
  let at = 0;
  return {
    past: () => state.past,
    now: () => at,
    tunnel: () => tunnel,
    on: (...events: Event[]) => {
      for (const event of events) {
        at += 1_000;
        const next = step(tunnel, event, { at, random: 0.5 }, policy).tunnel;
        state = observe(state, tunnel, event, next, at);
        tunnel = next;
      }
    },
  };
};
const up: Event[] = [{ type: 'spawned', pid: 1 }, { type: 'connected' }, { type: 'alarm' }];
const ok: Event = { type: 'beatOk', rttMs: 3 };
const lost: Event = { type: 'beatFailed', reason: 'HeartbeatLost', detail: 'nothing came' };
const refused = (detail: string, lines: string[] = []): Event => ({
  ...{ type: 'exited', code: 255, signal: null, reason: 'AuthFailed', detail, lines },
});

it('knows the phase and since when', () => {
  const one = from();
  expect(one.past()).toMatchObject({ phase: 'Starting', phaseSince: null });
  one.on({ type: 'start' }, ...up);
  expect(one.past()).toMatchObject({ phase: 'Connecting', phaseSince: 1_000 });
  one.on(ok);
  expect(one.past()).toMatchObject({ phase: 'Connected', phaseSince: 5_000 });
  one.on({ type: 'alarm' }, ok);
  expect(one.past()).toMatchObject({ phase: 'Connected', phaseSince: 5_000 });
  one.on({ type: 'suspend' });
  expect(one.past()).toMatchObject({ phase: 'Ending', nextStartAt: null });
  one.on(refused('ended'));
  expect(one.past()).toMatchObject({ phase: 'Suspended', failures: [] });
});

it('knows when ssh is started next, and forgets it then', () => {
  const one = from();
  one.on({ type: 'start' }, { type: 'spawned', pid: 1 }, refused('Permission denied'));
  const due = one.now() + one.tunnel().pauseMs;
  expect(one.past()).toMatchObject({ phase: 'Waiting', nextStartAt: due });
  one.on({ type: 'wake' });
  expect(one.past().nextStartAt).toBe(due);
  one.on({ type: 'wait' });
  expect(one.past()).toMatchObject({ phase: 'Connecting', nextStartAt: null });
});

it('remembers beats that came back and beats that did not, only so many', () => {
  const one = from();
  one.on({ type: 'start' }, ...up, ok, { type: 'alarm' }, lost, { type: 'alarm' }, ok);
  expect(one.past().beats.map(({ rttMs }) => rttMs)).toEqual([3, null, 3]);
  for (let i = 0; i < 2 * MOST_BEATS; i++) one.on({ type: 'alarm' }, ok);
  expect(one.past().beats).toHaveLength(MOST_BEATS);
  expect(one.past().beats.at(-1)?.at).toBe(one.now());
});

it('sums up failures that say the same, keeps the last lines of ssh, only so many of each', () => {
  const one = from();
  one.on({ type: 'start' });
  const fail = (detail: string, lines: string[]) =>
    one.on({ type: 'spawned', pid: 1 }, refused(detail, lines), { type: 'wait' });
  fail('port 1: denied', ['one']);
  fail(
    'port 2: denied',
    Array.from({ length: 50 }, (_, i) => `${i} ${'x'.repeat(5_000)}`),
  );
  expect(one.past().failures).toMatchObject([
    { reason: 'AuthFailed', detail: 'port 2: denied', count: 2, firstAt: 3_000 },
  ]);
  const [failure] = one.past().failures;
  expect(failure?.lastAt).toBe(one.now() - 1_000);
  expect(failure?.lines).toHaveLength(MOST_LINES);
  expect(failure?.lines.at(-1)).toMatch(/^49 x{300,400}…$/);
  for (const letter of 'abcdefghijklmnop') fail(letter, []);
  expect(one.past().failures).toHaveLength(MOST_FAILURES);
  expect(one.past().failures.at(-1)).toMatchObject({ detail: 'p', count: 1 });
});

it('gives a lost connection the last words of the ssh that was ended for it', () => {
  const one = from();
  one.on({ type: 'start' }, ...up, ok, { type: 'alarm' }, lost, { type: 'alarm' }, lost);
  expect(one.past()).toMatchObject({ phase: 'Ending', failures: [{ reason: 'HeartbeatLost', count: 1, lines: [] }] });
  one.on(refused('Killed', ['client_loop: send disconnect']));
  expect(one.past().failures).toMatchObject([
    { reason: 'HeartbeatLost', count: 1, lines: ['client_loop: send disconnect'] },
  ]);
});
