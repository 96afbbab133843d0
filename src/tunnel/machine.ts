import type { Reason } from '../api/reasons.ts';

/**
 * The life of one tunnel, without clock, process or socket: a table of state x event -> what becomes of the tunnel and what is
 * to be done about it. Two policies share it: `autossh` (policy-autossh.ts) and `resident` (policy-resident.ts). At any time at
 * most one ssh runs: a new one is spawned only in a state that has seen the last one's exit.
 */
export type StateName = 'Idle' | 'Waiting' | 'Connecting' | 'Connected' | 'Ending' | 'Suspended' | 'Exited';

export type Event =
  | { readonly type: 'start' }
  /** ssh runs. */
  | { readonly type: 'spawned'; readonly pid: number }
  /** ssh has logged in and its forwards are up, as far as anyone can tell from here. */
  | { readonly type: 'connected' }
  | ({ readonly type: 'exited' } & Exit)
  /** Bytes went round; null where the method measures nothing. */
  | { readonly type: 'beatOk'; readonly rttMs: number | null }
  | { readonly type: 'beatFailed'; readonly reason: Reason; readonly detail: string }
  /** The server answered, but not as the method asks for: another ssh would get the same answer, so this one stays. */
  | { readonly type: 'beatRefused'; readonly reason: Reason; readonly detail: string }
  /** A beat takes longer than it should, on a connection whose bytes flow: its answer is waited for. */
  | { readonly type: 'beatSlow'; readonly waitedMs: number }
  /** A timer that an effect set has run out. */
  | { readonly type: TimerName }
  /** Look after the child now (SIGHUP, SIGUSR2): a beat does not come sooner for it. */
  | { readonly type: 'wake' }
  /** End this ssh and start another (SIGUSR1); in Waiting: do not wait any longer. */
  | { readonly type: 'restart'; readonly why: RestartWhy }
  /** The policy's times are others than before: what is due later than they say is due sooner, and a deadline moves either way. */
  | { readonly type: 'retimed' }
  | { readonly type: 'stop'; readonly signal: number }
  | { readonly type: 'suspend' }
  | { readonly type: 'resume' };

/** How an ssh ended: its exit status or the signal that killed it, and what its last lines say of the cause. */
export type Exit = {
  readonly code: number | null;
  readonly signal: number | null;
  readonly reason: Reason;
  readonly detail: string;
  /** Set where ssh could not be run at all: the system's words for it. */
  readonly spawnError?: string;
  /** ssh's last lines, the oldest first; the machine does not look at them. */
  readonly lines?: readonly string[];
  /** What ended it has been put right meanwhile: the next start need not wait. */
  readonly amended?: boolean;
};

export type RestartWhy = 'signal' | 'monitorPort' | 'remoteForward' | 'changed' | 'lifetime' | 'asked';

/** `wait` ends a pause before ssh is started, `alarm` asks for a beat, `connect` and `kill` are deadlines, `lifetime` the end. */
export type TimerName = 'wait' | 'alarm' | 'connect' | 'kill' | 'lifetime';

export type Effect =
  | { readonly do: 'spawn' }
  | { readonly do: 'kill'; readonly signal: 'SIGTERM' | 'SIGKILL' }
  | { readonly do: 'beat' }
  /** Runs out once, at `at`; setting a timer again replaces it. */
  | { readonly do: 'timer'; readonly name: TimerName; readonly at: number }
  | { readonly do: 'clear'; readonly name: TimerName }
  | { readonly do: 'exit'; readonly code: number };

/** What follows the end of an ssh that we asked to end. */
export type Next = { readonly to: 'restart' | 'suspend' } | { readonly to: 'exit'; readonly code: number };

/** Why there is no connection, or none any more. */
export type Failure = { readonly reason: Reason; readonly detail: string };

/** A tunnel at one moment. Times are milliseconds of a monotonic clock. */
export type Tunnel = {
  readonly state: StateName;
  readonly bornAt: number;
  /** How often ssh was to be started, as 1.4g counts: also where it could not be made ready, or not be run. */
  readonly starts: number;
  /** When the last ssh was to be started; -Infinity before the first. */
  readonly startedAt: number;
  readonly connectedAt: number | null;
  readonly pid: number | null;
  /** When the next beat is due. */
  readonly alarmAt: number | null;
  /** A beat is under way. */
  readonly beating: boolean;
  /** Beats that failed in a row. */
  readonly failedBeats: number;
  /** Beats of this ssh that came back. */
  readonly goodBeats: number;
  readonly next: Next | null;
  readonly lastFailure: Failure | null;
  /** autossh policy: starts in quick succession. */
  readonly tries: number;
  /** The pause before the next start, in ms, and when it ends, while in Waiting. */
  readonly pauseMs: number;
  readonly waitUntil: number | null;
  /** resident policy: failures of each class since the last proven connection. */
  readonly attempts: Readonly<Record<RetryClass, number>>;
};

export type RetryClass = 'network' | 'port' | 'auth';

/** The moment of an event: monotonic milliseconds, and one random number of [0, 1) for jitter. */
export type Now = { readonly at: number; readonly random: number };

/** The decisions in which the two policies differ. All are pure. */
export type Policy = {
  /** Whether ssh may be started (again), and after which pause; or that it is over. */
  readonly beforeStart: (tunnel: Tunnel, now: Now) => StartDecision;
  /** When the next beat is due, seen from the start of an ssh or from the last beat; null: no beats. */
  readonly firstAlarmAt: (tunnel: Tunnel, now: Now) => number | null;
  readonly nextAlarmAt: (tunnel: Tunnel, now: Now) => number | null;
  /** What an exit that nobody asked for leads to. */
  readonly afterExit: (
    tunnel: Tunnel,
    exit: Exit,
    now: Now,
  ) => { readonly next: Next; readonly changes: Partial<Tunnel> };
  /** What becomes of the retry counters when ssh is ended because its connection is sick. */
  readonly afterSick: (tunnel: Tunnel, failure: Failure, now: Now) => Partial<Tunnel>;
  /** Failed beats in a row that end an ssh. */
  readonly failureThreshold: number;
  /** How long from the start of ssh until the connection must be up; null: no such limit. */
  readonly connectDeadlineMs: number | null;
  /** How long ssh may take to end on SIGTERM before SIGKILL. */
  readonly killGraceMs: number;
  /** When all is to end, whatever happens; null: never. */
  readonly lifetimeEndsAt: number | null;
  /** Exit code after a signal to stop. */
  readonly stopCode: number;
};

export type StartDecision =
  | { readonly go: true; readonly pauseMs: number; readonly changes: Partial<Tunnel> }
  | { readonly go: false; readonly code: number };

/** What an event did: the tunnel after it, and what the edge has to do, in order. */
export type Step = { readonly tunnel: Tunnel; readonly effects: readonly Effect[] };

/** A tunnel of which nothing has happened yet. */
export const newTunnel = (bornAt: number): Tunnel => ({
  state: 'Idle',
  bornAt,
  starts: 0,
  startedAt: Number.NEGATIVE_INFINITY,
  connectedAt: null,
  pid: null,
  alarmAt: null,
  beating: false,
  failedBeats: 0,
  goodBeats: 0,
  next: null,
  lastFailure: null,
  tries: 0,
  pauseMs: 0,
  waitUntil: null,
  attempts: { network: 0, port: 0, auth: 0 },
});

type Cell = (tunnel: Tunnel, event: Event, now: Now, policy: Policy) => Step;

/** What one event does to a tunnel. An event that a state has no cell for changes nothing: it came too late or too early. */
export const step = (tunnel: Tunnel, event: Event, now: Now, policy: Policy): Step => {
  const cell = TABLE[tunnel.state][event.type];
  return cell === undefined ? { tunnel, effects: [] } : cell(tunnel, event, now, policy);
};

// The cells, by what they do. --------------------------------------------------------------------------------------------

const stay = (tunnel: Tunnel, changes: Partial<Tunnel>, ...effects: Effect[]): Step => ({
  tunnel: { ...tunnel, ...changes },
  effects,
});

const exit = (tunnel: Tunnel, code: number): Step =>
  stay(
    tunnel,
    { state: 'Exited', pid: null, alarmAt: null, beating: false },
    ...quiet(),
    { do: 'clear', name: 'lifetime' },
    { do: 'exit', code },
  );

/** No timer of an ssh outlives it. */
const quiet = (): Effect[] => [
  { do: 'clear', name: 'wait' },
  { do: 'clear', name: 'alarm' },
  { do: 'clear', name: 'connect' },
  { do: 'clear', name: 'kill' },
];

/** Towards the next ssh: at once, after a pause, or not at all. */
const prepare: Cell = (tunnel, _event, now, policy) => {
  const decision = policy.beforeStart(tunnel, now);
  if (!decision.go) return exit(tunnel, decision.code);
  const ready: Tunnel = {
    ...tunnel,
    ...decision.changes,
    state: 'Waiting',
    pid: null,
    connectedAt: null,
    alarmAt: null,
    beating: false,
    failedBeats: 0,
    goodBeats: 0,
    next: null,
    pauseMs: decision.pauseMs,
    waitUntil: now.at + decision.pauseMs,
  };
  if (decision.pauseMs <= 0) {
    const launched = launch(ready, _event, now, policy);
    return { tunnel: launched.tunnel, effects: [...quiet(), ...lifetime(tunnel, policy), ...launched.effects] };
  }
  const wait: Effect = { do: 'timer', name: 'wait', at: now.at + decision.pauseMs };
  return stay(ready, {}, ...quiet(), ...lifetime(tunnel, policy), wait);
};

/** The end of all is set once, by the first event of a tunnel's life: nothing but its end clears it. */
const lifetime = (tunnel: Tunnel, policy: Policy): Effect[] =>
  tunnel.state === 'Idle' && policy.lifetimeEndsAt !== null
    ? [{ do: 'timer', name: 'lifetime', at: policy.lifetimeEndsAt }]
    : [];

const launch: Cell = (tunnel, _event, now) =>
  stay(
    tunnel,
    {
      ...{ state: 'Connecting', starts: tunnel.starts + 1, startedAt: now.at },
      ...{ pid: null, connectedAt: null, pauseMs: 0, waitUntil: null },
    },
    { do: 'clear', name: 'wait' },
    { do: 'spawn' },
  );

const spawned: Cell = (tunnel, event, now, policy) => {
  if (event.type !== 'spawned') return stay(tunnel, {});
  const alarmAt = policy.firstAlarmAt(tunnel, now);
  return stay(tunnel, { pid: event.pid, alarmAt }, ...setAlarm(alarmAt), ...deadline(tunnel, policy));
};

const deadline = ({ startedAt }: Tunnel, { connectDeadlineMs }: Policy): Effect[] =>
  connectDeadlineMs === null ? [] : [{ do: 'timer', name: 'connect', at: startedAt + connectDeadlineMs }];

const connected: Cell = (tunnel, _event, now, policy) => {
  const first = tunnel.alarmAt === null && !tunnel.beating;
  const alarmAt = first ? policy.nextAlarmAt(tunnel, now) : tunnel.alarmAt;
  return stay(
    tunnel,
    { state: 'Connected', connectedAt: now.at, failedBeats: 0, alarmAt },
    { do: 'clear', name: 'connect' },
    ...(first ? setAlarm(alarmAt) : []),
  );
};

const beat: Cell = (tunnel) =>
  tunnel.beating ? stay(tunnel, {}) : stay(tunnel, { alarmAt: null, beating: true }, { do: 'beat' });

const beatOk: Cell = (tunnel, _event, now, policy) => {
  // The beat of an ssh that is gone says nothing of this one.
  if (!tunnel.beating) return { tunnel, effects: [] };
  const isFirst = tunnel.state === 'Connecting';
  const counts = { failedBeats: 0, goodBeats: tunnel.goodBeats + 1 };
  const alarmAt = policy.nextAlarmAt({ ...tunnel, ...counts, state: 'Connected' }, now);
  const changes = { ...counts, beating: false, lastFailure: null, alarmAt };
  return stay(
    tunnel,
    isFirst ? { ...changes, state: 'Connected', connectedAt: now.at } : changes,
    ...(isFirst ? [{ do: 'clear', name: 'connect' } as const] : []),
    ...setAlarm(alarmAt),
  );
};

const beatRefused: Cell = (tunnel, event, now, policy) => {
  if (event.type !== 'beatRefused' || !tunnel.beating) return stay(tunnel, {});
  // The path is proven; only what it leads to is not.
  const answered = beatOk(tunnel, event, now, policy);
  const failure: Failure = { reason: event.reason, detail: event.detail };
  return { ...answered, tunnel: { ...answered.tunnel, lastFailure: failure } };
};

const beatFailed: Cell = (tunnel, event, now, policy) => {
  if (event.type !== 'beatFailed') return stay(tunnel, {});
  const failedBeats = tunnel.failedBeats + 1;
  const failure: Failure = { reason: event.reason, detail: event.detail };
  const failed = { ...tunnel, beating: false, failedBeats, lastFailure: failure };
  if (failedBeats >= policy.failureThreshold) return end(failed, failure, { to: 'restart' }, now, policy);
  const alarmAt = policy.nextAlarmAt(failed, now);
  return stay(failed, { alarmAt }, ...setAlarm(alarmAt));
};

const tooSlow: Cell = (tunnel, _event, now, policy) => {
  const seconds = Math.round((now.at - tunnel.startedAt) / 1000);
  const failure: Failure = { reason: 'ConnectTimeout', detail: `no connection ${seconds} s after ssh was started` };
  return end(tunnel, failure, { to: 'restart' }, now, policy);
};

const restart: Cell = (tunnel, _event, now, policy) => end(tunnel, null, { to: 'restart' }, now, policy);
const suspend: Cell = (tunnel, _event, now, policy) => end(tunnel, null, { to: 'suspend' }, now, policy);
const stop: Cell = (tunnel, _event, now, policy) =>
  end(tunnel, null, { to: 'exit', code: policy.stopCode }, now, policy);
const expire: Cell = (tunnel, _event, now, policy) => end(tunnel, null, { to: 'exit', code: 0 }, now, policy);

/** Asks the living ssh to end; what follows waits for its exit. */
const end = (tunnel: Tunnel, failure: Failure | null, next: Next, now: Now, policy: Policy): Step =>
  stay(
    tunnel,
    {
      ...(failure === null ? {} : policy.afterSick(tunnel, failure, now)),
      lastFailure: failure,
      state: 'Ending',
      beating: false,
      next,
    },
    ...quiet(),
    { do: 'kill', signal: 'SIGTERM' },
    { do: 'timer', name: 'kill', at: now.at + policy.killGraceMs },
  );

/** In Ending: a later wish replaces an earlier one, but nothing brings back a tunnel that was told to stop. */
const wish =
  (next: (policy: Policy) => Next): Cell =>
  (tunnel, _event, _now, policy) =>
    stay(tunnel, tunnel.next?.to === 'exit' ? {} : { next: next(policy) });

/** In Ending: a suspension is taken back before it has come, and what follows is as after one: a start that nothing makes wait. */
const takeBack: Cell = (tunnel) =>
  stay(tunnel, tunnel.next?.to === 'suspend' ? { next: { to: 'restart' }, lastFailure: null } : {});

const gone: Cell = (tunnel, event, now, policy) => {
  if (event.type !== 'exited') return stay(tunnel, {});
  const { next, changes } = policy.afterExit(tunnel, event, now);
  const failure: Failure = { reason: event.reason, detail: event.detail };
  return follow({ ...tunnel, ...changes, lastFailure: failure }, next, event, now, policy);
};

const ended: Cell = (tunnel, event, now, policy) =>
  follow(tunnel, tunnel.next ?? { to: 'restart' }, event, now, policy);

const follow = (tunnel: Tunnel, next: Next, event: Event, now: Now, policy: Policy): Step => {
  if (next.to === 'exit') return exit(tunnel, next.code);
  if (next.to === 'suspend') return rest(tunnel, event, now, policy);
  return prepare(tunnel, event, now, policy);
};

const rest: Cell = (tunnel, _event, _now, policy) =>
  stay(
    tunnel,
    {
      state: 'Suspended',
      pid: null,
      connectedAt: null,
      alarmAt: null,
      beating: false,
      failedBeats: 0,
      goodBeats: 0,
      next: null,
      pauseMs: 0,
      waitUntil: null,
      lastFailure: null,
    },
    ...quiet(),
    ...lifetime(tunnel, policy),
  );

const setAlarm = (at: number | null): Effect[] =>
  at === null ? [{ do: 'clear', name: 'alarm' }] : [{ do: 'timer', name: 'alarm', at }];

/** A beat or a start that is due later than the new times say comes sooner; never later, or a stream of changes would put it off. */
const beatSooner: Cell = (tunnel, _event, now, policy) => {
  const alarmAt = policy.nextAlarmAt(tunnel, now);
  if (tunnel.alarmAt === null || alarmAt === null || alarmAt >= tunnel.alarmAt) return stay(tunnel, {});
  return stay(tunnel, { alarmAt }, ...setAlarm(alarmAt));
};
/** A deadline is no turn that could be put off for ever: it counts from the start of ssh, however often it moves. */
const connectRetimed: Cell = (tunnel, event, now, policy) => {
  const { tunnel: after, effects } = beatSooner(tunnel, event, now, policy);
  return { tunnel: after, effects: [...effects, ...(tunnel.pid === null ? [] : deadline(tunnel, policy))] };
};
const startSooner: Cell = (tunnel, _event, now, policy) => {
  const decision = policy.beforeStart(tunnel, now);
  const due = tunnel.waitUntil ?? now.at;
  if (!decision.go || now.at + decision.pauseMs >= due) return stay(tunnel, {});
  const waitUntil = now.at + decision.pauseMs;
  return stay(tunnel, { pauseMs: decision.pauseMs, waitUntil }, { do: 'timer', name: 'wait', at: waitUntil });
};

/** In Ending: what comes next is a start for a new reason, so that no earlier failure makes it wait. */
const hurry: Cell = (tunnel) => stay(tunnel, tunnel.next?.to === 'restart' ? { lastFailure: null } : {});

const killHard: Cell = (tunnel) => stay(tunnel, {}, { do: 'kill', signal: 'SIGKILL' });
const noted: Cell = (tunnel) => stay(tunnel, {});
const leave: Cell = (tunnel, _event, _now, policy) => exit(tunnel, policy.stopCode);
const over: Cell = (tunnel) => exit(tunnel, 0);

// The table. ---------------------------------------------------------------------------------------------------------------

const TABLE: Readonly<Record<StateName, Partial<Record<Event['type'], Cell>>>> = {
  Idle: { start: prepare, stop: leave, suspend: rest },
  Waiting: {
    wait: launch,
    restart: launch,
    retimed: startSooner,
    wake: noted,
    suspend: rest,
    stop: leave,
    lifetime: over,
  },
  Connecting: {
    spawned,
    connected,
    exited: gone,
    alarm: beat,
    beatOk,
    beatFailed,
    beatRefused,
    beatSlow: noted,
    connect: tooSlow,
    wake: noted,
    restart,
    retimed: connectRetimed,
    suspend,
    stop,
    lifetime: expire,
  },
  Connected: {
    exited: gone,
    alarm: beat,
    beatOk,
    beatFailed,
    beatRefused,
    beatSlow: noted,
    wake: noted,
    restart,
    retimed: beatSooner,
    suspend,
    stop,
    lifetime: expire,
  },
  Ending: {
    exited: ended,
    kill: killHard,
    restart: hurry,
    suspend: wish(() => ({ to: 'suspend' })),
    resume: takeBack,
    stop: wish((policy) => ({ to: 'exit', code: policy.stopCode })),
    lifetime: wish(() => ({ to: 'exit', code: 0 })),
  },
  Suspended: { resume: prepare, stop: leave, lifetime: over },
  Exited: {},
};
