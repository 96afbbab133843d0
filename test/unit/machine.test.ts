import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REASONS } from '../../src/api/reasons.ts';
import { DEFAULTS } from '../../src/tunnel/autossh-env.ts';
import { pauseBounds, retryClass } from '../../src/tunnel/backoff.ts';
import { type Event, newTunnel, type Policy, type StateName, step, type Tunnel } from '../../src/tunnel/machine.ts';
import { type AutosshPolicyOptions, autosshPolicy } from '../../src/tunnel/policy-autossh.ts';
import { type ResidentPolicyOptions, residentPolicy } from '../../src/tunnel/policy-resident.ts';
import { DEATH, type Deed, GOOD_LIFE, type Life, LONGEST_BEAT, Simulation } from '../support/simulate.ts';

// What is drawn. -----------------------------------------------------------------------------------------------------------

const ms = (most: number) => fc.integer({ min: 0, max: most });
const how = fc.record({
  code: fc.constantFrom(0, 1, 2, 3, 127, 255),
  signal: fc.constant(null),
  reason: fc.constantFrom(...REASONS),
  detail: fc.constant('a line of ssh'),
});
const killed = fc.record({
  code: fc.constant(null),
  signal: fc.constantFrom(1, 2, 9, 11, 15),
  reason: fc.constant('Killed' as const),
  detail: fc.constant(''),
});
const end = fc.oneof({ weight: 3, arbitrary: how }, killed);
const life: fc.Arbitrary<Life> = fc.record({
  connectsAfter: fc.option(ms(40_000), { freq: 3 }),
  ends: fc.option(fc.record({ after: fc.oneof(ms(200), ms(20_000), ms(2_000_000)), how: end }), { freq: 3 }),
  onTerm: fc.option(fc.record({ takes: fc.oneof(ms(50), ms(30_000)), how: end }), { freq: 3 }),
  beats: fc.array(fc.record({ takes: ms(LONGEST_BEAT), ok: fc.boolean() }), { minLength: 1, maxLength: 4 }),
});
const unrunnable: fc.Arbitrary<Life> = fc.constant({ ...GOOD_LIFE, spawnError: 'No such file or directory' });
const lives = fc.array(fc.oneof({ weight: 12, arbitrary: life }, { weight: 1, arbitrary: unrunnable }), {
  maxLength: 25,
});

/** One ssh after another that soon ends with an error: what grace times are for. */
const hasty = fc.array(
  fc.record({ life, after: ms(30_000), patient: fc.boolean() }).map(
    ({ life, after, patient }): Life => ({
      ...life,
      ends: {
        after: patient ? after : after / 100,
        how: { code: 255, signal: null, reason: 'ConnectionRefused', detail: '' },
      },
    }),
  ),
  { minLength: 10, maxLength: 25 },
);
const pause = { wait: 20_000_000, deed: { type: 'wake' } } as const;

const deed: fc.Arbitrary<Deed> = fc.oneof(
  fc.record({ type: fc.constantFrom('wake' as const, 'suspend' as const, 'resume' as const) }),
  fc.record({ type: fc.constant('restart' as const), why: fc.constantFrom('signal' as const, 'changed' as const) }),
);
const deeds = fc.array(fc.record({ wait: fc.oneof(ms(50), ms(10_000), ms(1_500_000)), deed }), { maxLength: 25 });

const autossh: fc.Arbitrary<AutosshPolicyOptions> = fc
  .record({
    poll: fc.integer({ min: 1, max: 1200 }),
    firstPoll: fc.integer({ min: 1, max: 1200 }),
    gateTime: fc.constantFrom(0, 0, 1, 30),
    maxStart: fc.constantFrom(-1, -1, -1, 0, 1, 5),
    maxLifetime: fc.constantFrom(0, 0, 0, 1, 60, 3600, 90_000),
    background: fc.boolean(),
    noSession: fc.boolean(),
    connectDeadlineMs: fc.option(fc.integer({ min: 1000, max: 60_000 })),
  })
  .map(({ background, noSession, connectDeadlineMs, ...settings }) => ({
    ...{ settings: { ...DEFAULTS, ...settings }, bornAt: 0, background, noSession, connectDeadlineMs },
  }));
const resident: fc.Arbitrary<ResidentPolicyOptions> = fc.record({
  bornAt: fc.constant(0),
  periodMs: fc.integer({ min: 1000, max: 60_000 }),
  firstBeatMs: fc.integer({ min: 0, max: 5000 }),
  failureThreshold: fc.integer({ min: 1, max: 4 }),
  connectDeadlineMs: fc.integer({ min: 1000, max: 60_000 }),
  killGraceMs: fc.integer({ min: 0, max: 20_000 }),
  provenMs: fc.integer({ min: 0, max: 60_000 }),
  retry: fc.record({
    networkMaxSeconds: fc.integer({ min: 1, max: 60 }),
    remotePortBusySeconds: fc.integer({ min: 1, max: 120 }),
    authMaxSeconds: fc.integer({ min: 1, max: 3600 }),
  }),
});
/** A policy that a counterexample shows by what it was made of. */
const shown = (made: Policy, from: unknown): Policy =>
  Object.assign(made, { [fc.toStringMethod]: () => fc.stringify(from) });
/** Both policies; the resident one also with an end to its life, which the machine offers to every policy. */
const policy: fc.Arbitrary<Policy> = fc.oneof(
  autossh.map((options) => shown(autosshPolicy(options), options)),
  resident.map((options) => shown(residentPolicy(options), options)),
  fc
    .record({ options: resident, lifetimeEndsAt: ms(4_000_000) })
    .map((from) => shown({ ...residentPolicy(from.options), lifetimeEndsAt: from.lifetimeEndsAt }, from)),
);

const story = fc.record({ lives, deeds, seed: fc.integer({ min: 1 }) });
type Story = { lives: Life[]; deeds: { wait: number; deed: Deed }[]; seed: number };

/** The tunnel after the whole story; what must always hold is checked by the simulation after every event. */
const tell = (policy: Policy, { lives, deeds, seed }: Story): Simulation => {
  const simulation = new Simulation(policy, lives, seed);
  simulation.dispatch({ type: 'start' });
  for (const { wait, deed } of deeds) {
    simulation.pass(wait);
    simulation.dispatch(deed);
  }
  return simulation;
};

/** The longest that a policy of these tests ever waits before a start: AUTOSSH_POLL, or authMaxSeconds, 3600 s. */
const LONGEST_PAUSE = 3_600_000;
const RUNS = { numRuns: 1000 };

// What must hold. ----------------------------------------------------------------------------------------------------------

describe('a tunnel, whatever happens', () => {
  it('keeps the rules of the house: one ssh, no leaked timer, SIGKILL after SIGTERM, nothing after the end', () => {
    fc.assert(
      fc.property(policy, story, (policy, story) => {
        const { tunnel, journal } = tell(policy, story);
        const spawns = journal.flatMap(({ effects }) => effects).filter((effect) => effect.do === 'spawn');
        expect(tunnel.starts).toBe(spawns.length);
      }),
      RUNS,
    );
  });

  it('comes back to a connection, or to its stated end, once the world behaves', () => {
    fc.assert(
      fc.property(policy, story, (policy, story) => {
        const simulation = tell(policy, story);
        simulation.mend();
        if (simulation.tunnel.state === 'Suspended' || simulation.tunnel.next?.to === 'suspend')
          simulation.dispatch({ type: 'resume' });
        const bound = LONGEST_PAUSE + policy.killGraceMs + DEATH + 1000;
        const settled = () => ['Connected', 'Exited'].includes(simulation.tunnel.state);
        expect(simulation.passUntil(settled, bound), simulation.tunnel.state).toBe(true);
      }),
      RUNS,
    );
  });

  it('stays connected in a world that behaves, for a day, unless its life is over', () => {
    fc.assert(
      fc.property(policy, ms(2 ** 31), (policy, seed) => {
        const simulation = tell(policy, { lives: [], deeds: [], seed });
        simulation.pass(86_400_000);
        const { state, starts } = simulation.tunnel;
        if (state === 'Exited') expect(simulation.exitCode).toBe(0);
        else expect({ state, starts }).toEqual({ state: 'Connected', starts: 1 });
      }),
      { numRuns: 100 },
    );
  }, 300_000);

  it('ends after a stop, within the grace that ssh is given, and starts nothing any more', () => {
    fc.assert(
      fc.property(policy, story, story, (policy, story, { deeds }) => {
        const simulation = tell(policy, story);
        const wasOver = simulation.exitCode !== null || simulation.tunnel.next?.to === 'exit';
        const { starts } = simulation.tunnel;
        const by = simulation.now + policy.killGraceMs + DEATH;
        simulation.dispatch({ type: 'stop', signal: 15 });
        for (const { wait, deed } of deeds) {
          simulation.pass(Math.min(wait, Math.max(0, by - simulation.now)));
          simulation.dispatch(deed);
        }
        simulation.pass(Math.max(0, by - simulation.now));
        expect(simulation.tunnel.state).toBe('Exited');
        expect(simulation.tunnel.starts).toBe(starts);
        if (!wasOver) expect(simulation.exitCode).toBe(policy.stopCode);
      }),
      RUNS,
    );
  });

  it('ends when its lifetime does', () => {
    fc.assert(
      fc.property(policy, story, (policy, story) => {
        fc.pre(policy.lifetimeEndsAt !== null);
        const simulation = tell(policy, story);
        const by = (policy.lifetimeEndsAt ?? 0) + policy.killGraceMs + DEATH;
        simulation.pass(Math.max(0, by - simulation.now));
        expect(simulation.tunnel.state).toBe('Exited');
      }),
      RUNS,
    );
  });

  it('ends when its lifetime does although it was suspended before it was started', () => {
    fc.assert(
      fc.property(resident, ms(4_000_000), ms(4_000_000), (options, lifetimeEndsAt, resumeAt) => {
        const policy = { ...residentPolicy(options), lifetimeEndsAt };
        const simulation = new Simulation(policy, []);
        simulation.dispatch({ type: 'suspend' });
        simulation.pass(resumeAt);
        simulation.dispatch({ type: 'resume' });
        simulation.pass(Math.max(0, lifetimeEndsAt + policy.killGraceMs + DEATH - simulation.now));
        expect(simulation.tunnel.state).toBe('Exited');
      }),
      { numRuns: 200 },
    );
  });

  it('starts no ssh while it is suspended', () => {
    fc.assert(
      fc.property(policy, story, (policy, story) => {
        const simulation = tell(policy, story);
        simulation.dispatch({ type: 'suspend' });
        const { starts } = simulation.tunnel;
        for (const deed of ['wake', 'restart'] as const) {
          simulation.pass(100_000);
          simulation.dispatch(deed === 'wake' ? { type: 'wake' } : { type: 'restart', why: 'changed' });
        }
        simulation.pass(LONGEST_PAUSE);
        expect(simulation.tunnel.starts).toBe(starts);
        expect(['Suspended', 'Exited']).toContain(simulation.tunnel.state);
      }),
      RUNS,
    );
  });

  it('does nothing on an event that comes too late', () => {
    const exited: Tunnel = { ...newTunnel(0), state: 'Exited', starts: 3 };
    const now = { at: 1e6, random: 0.5 };
    fc.assert(
      fc.property(policy, fc.constantFrom(...everyEvent), (policy, event) => {
        expect(step(exited, event, now, policy)).toEqual({ tunnel: exited, effects: [] });
      }),
    );
    // A beat of the last ssh: this one is not connected by it.
    const connecting: Tunnel = { ...newTunnel(0), state: 'Connecting', starts: 2, pid: 7 };
    fc.assert(
      fc.property(policy, (policy) => {
        const late = step(connecting, { type: 'beatOk', rttMs: 1 }, now, policy);
        expect(late).toEqual({ tunnel: connecting, effects: [] });
      }),
    );
  });
});

describe('the pause before a start', () => {
  it('is 1.4g’s grace time, counted by an ssh’s life: no start comes sooner', () => {
    let judged = 0;
    fc.assert(
      fc.property(autossh, hasty, story, (options, hasty, { deeds, seed }) => {
        const { journal } = tell(autosshPolicy(options), { lives: hasty, deeds: [...deeds, pause], seed });
        const { poll } = options.settings;
        let tries = 0;
        let startedAt = Number.NEGATIVE_INFINITY;
        let endedAt = 0;
        for (const { at, event, before, effects } of journal) {
          if (before.state === 'Waiting' && (event.type === 'suspend' || event.type === 'stop')) tries = Number.NaN;
          if (event.type === 'exited' || before.state === 'Idle' || before.state === 'Suspended') endedAt = at;
          if (!effects.some((effect) => effect.do === 'spawn')) continue;
          const asked = before.state === 'Waiting' && event.type === 'restart';
          const shortLived = Math.floor((endedAt - startedAt) / 1000) < Math.max(10, Math.trunc(poll / 10));
          tries = shortLived ? tries + 1 : 0;
          const slow = tries - 5;
          const grace = slow > 0 ? Math.min(poll, Math.trunc((poll / 100) * (slow * (slow / 3)))) : 0;
          // A suspension in a pause leaves a counted try behind: from there on the count is not this simple.
          if (Number.isNaN(tries)) break;
          if (!asked) expect(at).toBe(endedAt + grace * 1000);
          if (grace > 0) judged++;
          startedAt = at;
        }
      }),
      RUNS,
    );
    expect(judged).toBeGreaterThan(300);
  });

  it('lies within the bounds of its class; only a proven connection, or somebody who asks, is answered at once', () => {
    let judged = 0;
    fc.assert(
      fc.property(resident, story, (options, story) => {
        const { journal } = tell(residentPolicy(options), story);
        let attempts = { network: 0, port: 0, auth: 0 };
        let due = { from: 0, to: 0 };
        for (const { at, event, before, after, effects } of journal) {
          const runs = before.state === 'Connecting' || before.state === 'Connected';
          const sick = runs && after.state === 'Ending' && (event.type === 'beatFailed' || event.type === 'connect');
          if (sick || (runs && event.type === 'exited')) {
            const reason = event.type === 'connect' ? 'ConnectTimeout' : 'reason' in event ? event.reason : 'Unknown';
            const kind = retryClass(reason);
            const proven = before.connectedAt !== null && at - before.connectedAt >= options.provenMs;
            attempts = proven ? { network: 0, port: 0, auth: 0 } : { ...attempts, [kind]: attempts[kind] + 1 };
            const { min, max } = proven ? { min: 0, max: 0 } : pauseBounds(kind, attempts[kind], options.retry);
            due = { from: min, to: max };
          }
          if (runs && after.state === 'Ending' && !sick) due = { from: 0, to: 0 };
          const renewed = before.next?.to === 'suspend' ? 'resume' : 'restart';
          if (before.state === 'Ending' && event.type === renewed) due = { from: 0, to: 0 };
          if (event.type === 'exited' && after.state !== 'Exited' && after.state !== 'Suspended')
            due = { from: at + Math.floor(due.from), to: at + Math.ceil(due.to) };
          if (!effects.some((effect) => effect.do === 'spawn')) continue;
          const asked = before.state === 'Waiting' && event.type === 'restart';
          if (asked || before.state === 'Idle' || before.state === 'Suspended') continue;
          expect(at).toBeGreaterThanOrEqual(due.from);
          expect(at).toBeLessThanOrEqual(due.to);
          if (due.from > 0) judged++;
        }
      }),
      RUNS,
    );
    expect(judged).toBeGreaterThan(1000);
  });
});

describe('the table', () => {
  it('reaches every state', () => {
    const reached = new Set<StateName>();
    fc.assert(
      fc.property(policy, story, (policy, story) => {
        for (const { after } of tell(policy, story).journal) reached.add(after.state);
      }),
      RUNS,
    );
    // Idle is where a tunnel is born, before its first event.
    expect([...reached].sort()).toEqual(['Connected', 'Connecting', 'Ending', 'Exited', 'Suspended', 'Waiting']);
  });
});

describe('a suspension taken back while ssh still ends', () => {
  it('starts the next ssh at once, as one taken back later does', () => {
    const policy = residentPolicy({
      ...{ bornAt: 0, periodMs: 1000, firstBeatMs: 0, failureThreshold: 1, connectDeadlineMs: 1000, killGraceMs: 50 },
      ...{ provenMs: 30_000, retry: { networkMaxSeconds: 60, remotePortBusySeconds: 60, authMaxSeconds: 60 } },
    });
    const simulation = new Simulation(policy, [{ connectsAfter: null, ends: null, onTerm: null, beats: [] }]);
    simulation.dispatch({ type: 'start' });
    simulation.pass(1001);
    expect(simulation.tunnel).toMatchObject({ state: 'Ending', lastFailure: { reason: 'ConnectTimeout' } });
    for (const type of ['suspend', 'resume'] as const) simulation.dispatch({ type });
    simulation.pass(policy.killGraceMs + DEATH);
    expect(simulation.tunnel).toMatchObject({ state: 'Connecting', starts: 2 });
  });
});

const everyEvent: Event[] = [
  { type: 'start' },
  { type: 'spawned', pid: 9 },
  { type: 'connected' },
  { type: 'exited', code: 255, signal: null, reason: 'Unknown', detail: '' },
  { type: 'beatOk', rttMs: 1 },
  { type: 'beatFailed', reason: 'HeartbeatLost', detail: '' },
  { type: 'beatRefused', reason: 'TargetUnreachable', detail: '' },
  ...(['wait', 'alarm', 'connect', 'kill', 'lifetime'] as const).map((type) => ({ type })),
  { type: 'wake' },
  { type: 'restart', why: 'signal' },
  { type: 'stop', signal: 15 },
  { type: 'suspend' },
  { type: 'resume' },
];

describe('new times', () => {
  const retry = { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 };
  const options: ResidentPolicyOptions = {
    ...{ bornAt: 0, periodMs: 5_000, firstBeatMs: 0, failureThreshold: 2, connectDeadlineMs: 20_000 },
    ...{ killGraceMs: 2_000, provenMs: 30_000, retry },
  };
  const retimed = (tunnel: Tunnel, change: Partial<ResidentPolicyOptions>) =>
    step(tunnel, { type: 'retimed' }, { at: 1_000, random: 0.5 }, residentPolicy({ ...options, ...change }));
  const beats = (alarmAt: number | null): Tunnel => ({
    ...newTunnel(0),
    ...{ state: 'Connected', connectedAt: 0, goodBeats: 2, alarmAt },
  });
  const waits: Tunnel = {
    ...{ ...newTunnel(0), state: 'Waiting', pauseMs: 200_000, waitUntil: 200_000 },
    ...{ lastFailure: { reason: 'AuthFailed', detail: '' }, attempts: { network: 0, port: 0, auth: 8 } },
  };

  it('bring a beat or a start forward, and put none off', () => {
    expect(retimed(beats(3_600_000), {})).toEqual({
      tunnel: beats(6_000),
      effects: [{ do: 'timer', name: 'alarm', at: 6_000 }],
    });
    for (const due of [2_000, null]) expect(retimed(beats(due), {})).toEqual({ tunnel: beats(due), effects: [] });
    expect(retimed(waits, { retry: { ...retry, authMaxSeconds: 10 } })).toEqual({
      tunnel: { ...waits, pauseMs: 7_500, waitUntil: 8_500 },
      effects: [{ do: 'timer', name: 'wait', at: 8_500 }],
    });
    expect(retimed({ ...waits, waitUntil: 2_000 }, {}).effects).toEqual([]);
  });

  it('move the deadline of an ssh that still connects, later as well as sooner', () => {
    const connecting: Tunnel = { ...newTunnel(0), state: 'Connecting', pid: 9, startedAt: 500 };
    for (const connectDeadlineMs of [100, 90_000])
      expect(retimed(connecting, { connectDeadlineMs })).toEqual({
        tunnel: connecting,
        effects: [{ do: 'timer', name: 'connect', at: 500 + connectDeadlineMs }],
      });
    // One that is still being made ready gets its deadline when it runs; one that is connected has none.
    for (const none of [{ ...connecting, pid: null }, beats(null)])
      expect(retimed(none, { connectDeadlineMs: 90_000 }).effects).toEqual([]);
  });

  it('that are remembered from an earlier life hold for the first start only', () => {
    const policy = residentPolicy({ ...options, notBefore: 9_000 });
    const now = { at: 1_000, random: 0 };
    expect(policy.beforeStart(newTunnel(0), now)).toMatchObject({ pauseMs: 8_000 });
    expect(policy.beforeStart({ ...newTunnel(0), state: 'Suspended' }, now)).toMatchObject({ pauseMs: 0 });
  });

  it('are not waited for when what ended ssh was put right, or something new is to be tried', () => {
    const exit = { code: 255, signal: null, reason: 'LocalPortBusy', detail: '' } as const;
    const running: Tunnel = { ...newTunnel(0), state: 'Connecting', attempts: { network: 1, port: 2, auth: 3 } };
    const go = (tunnel: Tunnel, event: Event) =>
      step(tunnel, event, { at: 1_000, random: 0.5 }, residentPolicy(options)).tunnel;
    expect(go(running, { type: 'exited', ...exit }).state).toBe('Waiting');
    expect(go(running, { type: 'exited', ...exit, amended: true })).toMatchObject({
      ...{ state: 'Connecting', attempts: { network: 1, port: 0, auth: 3 } },
    });
    const ending = go(running, { type: 'connect' });
    expect(go(ending, { type: 'exited', ...exit }).state).toBe('Waiting');
    expect(go(go(ending, { type: 'restart', why: 'changed' }), { type: 'exited', ...exit }).state).toBe('Connecting');
  });
});
