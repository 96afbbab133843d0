import { expect, it } from 'vitest';
import { type Event, newTunnel, step, type Tunnel } from '../../src/tunnel/machine.ts';
import { type Line, narrate } from '../../src/tunnel/narrate.ts';
import { residentPolicy } from '../../src/tunnel/policy-resident.ts';
import { noOutage } from '../../src/tunnel/quiet-repeats.ts';
import { newResidentState, observe } from '../../src/tunnel/resident-state.ts';

const policy = residentPolicy({
  ...{ bornAt: 0, periodMs: 5_000, firstBeatMs: 0, failureThreshold: 2, connectDeadlineMs: 20_000, killGraceMs: 2_000 },
  ...{ provenMs: 30_000, retry: { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 } },
});
/** The lines of these events, one a second, from `least` on. */
const linesOf = (events: readonly Event[], least = 6): Line[] => {
  let [tunnel, state, outage]: [Tunnel, typeof newResidentState, typeof noOutage] = [
    newTunnel(0),
    newResidentState,
    noOutage,
  ];
  return events.flatMap((event, index) => {
    const now = { at: (index + 1) * 1_000, random: 0.5 };
    const after = step(tunnel, event, now, policy).tunnel;
    const next = observe(state, tunnel, event, after, now.at);
    const told = narrate(outage, { before: tunnel, event, after, was: state, is: next }, now);
    [tunnel, state, outage] = [after, next, told.outage];
    return told.line === null || told.line.level > least ? [] : [told.line];
  });
};
const up: Event[] = [
  { type: 'spawned', pid: 1 },
  { type: 'connected' },
  { type: 'alarm' },
  { type: 'beatOk', rttMs: 3 },
];
const ended = (reason: 'ConnectionRefused' | 'AuthFailed', ...lines: string[]): Event => ({
  ...{ type: 'exited', code: 255, signal: null, reason, detail: lines[0] ?? '', lines },
});
const attempt = (end: Event): Event[] => [{ type: 'spawned', pid: 2 }, end, { type: 'wait' }];

it('tells an ordinary life in few lines', () => {
  expect(
    linesOf([{ type: 'start' }, ...up, { type: 'alarm' }, { type: 'beatOk', rttMs: 2 }]).map(({ message }) => message),
  ).toEqual(['ssh started', 'connected: bytes go round']);
});

it('tells the first attempt in full, the same again only for debugging, and the recovery', () => {
  const same = attempt(ended('ConnectionRefused', 'connect: refused'));
  const events = [{ type: 'start' } as const, ...Array.from({ length: 5 }, () => same).flat(), ...up];
  expect(linesOf(events).map(({ message }) => message)).toEqual([
    'ssh started',
    expect.stringMatching(/^ssh ended; next start in \d+ ms$/),
    'connected: bytes go round again',
  ]);
  expect(linesOf(events).at(-1)?.fields).toEqual({ rttMs: 3, downMs: 17_000, attempts: 5 });
  expect(linesOf(events, 7).filter(({ message }) => message.startsWith('ssh ended'))).toHaveLength(5);
});

it('sums up after a minute, and tells a new reason with the words of ssh', () => {
  const refused = attempt(ended('ConnectionRefused', 'connect: refused'));
  const lines = linesOf([
    { type: 'start' },
    ...Array.from({ length: 25 }, () => refused).flat(),
    ...attempt(ended('AuthFailed', 'Warning: something', 'Permission denied')),
  ]);
  expect(lines.map(({ message }) => message).slice(2)).toEqual([
    'still failing: ConnectionRefused, 21 times in 60 s; told again in 5 min at the earliest',
    expect.stringMatching(/^ssh ended/),
  ]);
  expect(lines[2]?.fields).toMatchObject({
    reason: 'ConnectionRefused',
    count: 21,
    spanMs: 60_000,
    nextLineMs: 300_000,
  });
  expect(lines[3]?.fields).toMatchObject({ reason: 'AuthFailed', ssh: 'Warning: something\nPermission denied' });
});

it('takes what was wished for as news', () => {
  const refused = attempt(ended('ConnectionRefused', 'connect: refused'));
  const told = linesOf([
    { type: 'start' },
    ...refused,
    ...refused.slice(0, 2),
    { type: 'restart', why: 'changed' },
    ...refused,
  ]);
  expect(told.map(({ message }) => message.slice(0, 12))).toEqual([
    'ssh started',
    'ssh ended; n',
    'starting aga',
    'ssh started',
    'ssh ended; n',
  ]);
});

it('warns of a refusal once, and tells when bytes go round again', () => {
  const beat = (event: Event): Event[] => [{ type: 'alarm' }, event];
  const refused = beat({ type: 'beatRefused', reason: 'TargetUnreachable', detail: 'nobody listens' });
  const lines = linesOf([{ type: 'start' }, ...up, ...refused, ...refused, ...beat({ type: 'beatOk', rttMs: 2 })]);
  expect(lines.map(({ level, message }) => [level, message]).slice(2)).toEqual([
    [4, 'heartbeat refused: the server answers, so ssh stays'],
    [6, 'connected: bytes go round again'],
  ]);
});

it('speaks of no round trip where none is measured', () => {
  const lines = linesOf([{ type: 'start' }, ...up.slice(0, 3), { type: 'beatOk', rttMs: null }]);
  expect(lines.at(-1)).toMatchObject({ message: 'connected: ssh is logged in', fields: {} });
});

it('tells that a slow heartbeat is waited for', () => {
  const lines = linesOf([{ type: 'start' }, ...up, { type: 'alarm' }, { type: 'beatSlow', waitedMs: 3_000 }]);
  expect(lines.at(-1)).toMatchObject({ level: 6, fields: { waitedMs: 3_000 } });
});
