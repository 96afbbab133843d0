import type { Reason } from '../api/reasons.ts';
import type { Event, Now, Tunnel } from './machine.ts';

/** What is worth telling of a resident tunnel, kept up to date from its transitions alone. Times are Unix milliseconds. */
export type ResidentState = {
  readonly connected: boolean;
  readonly suspended: boolean;
  /** Why not, or why the last connection was lost; null once bytes went round again. */
  readonly reason: Reason | null;
  readonly detail: string;
  readonly connectedSince: number | null;
  readonly lastBeatAt: number | null;
  readonly lastRttMs: number | null;
  readonly starts: number;
  readonly failures: number;
  /** Whether any beat ever came back: what a startup probe waits for. */
  readonly everConnected: boolean;
};

export const newResidentState: ResidentState = {
  connected: false,
  suspended: false,
  reason: null,
  detail: '',
  connectedSince: null,
  lastBeatAt: null,
  lastRttMs: null,
  starts: 0,
  failures: 0,
  everConnected: false,
};

/**
 * Connected means that bytes went round: from the first beat that came back on a connection until its end. Beats that fail before
 * the threshold do not end it.
 */
export const observe = (
  state: ResidentState,
  before: Tunnel,
  event: Event,
  after: Tunnel,
  unixMs: number,
): ResidentState => {
  const moved: ResidentState = { ...state, suspended: after.state === 'Suspended', starts: after.starts };
  if (event.type === 'beatOk' && after.state === 'Connected')
    return {
      ...moved,
      connected: true,
      everConnected: true,
      reason: null,
      detail: '',
      connectedSince: state.connectedSince ?? unixMs,
      lastBeatAt: unixMs,
      lastRttMs: event.rttMs,
    };
  const isLost = before.state !== after.state && after.state !== 'Connected' && after.state !== 'Connecting';
  const failure = after.lastFailure !== before.lastFailure ? after.lastFailure : null;
  return {
    ...moved,
    ...(isLost ? { connected: false, connectedSince: null } : {}),
    ...(failure === null || !isLost
      ? {}
      : { reason: failure.reason, detail: failure.detail, failures: state.failures + 1 }),
  };
};

/** The longest time, in ms, for which nothing may happen to a healthy supervisor in this state; null: any. */
export const longestSilenceMs = (tunnel: Tunnel, limits: SilenceLimits): number | null => {
  switch (tunnel.state) {
    case 'Waiting':
      return tunnel.pauseMs;
    case 'Connecting':
      return limits.connectDeadlineMs;
    case 'Connected':
      return limits.periodMs + limits.timeoutMs;
    case 'Ending':
      return limits.killGraceMs;
    default:
      return null;
  }
};

export type SilenceLimits = Readonly<Record<'connectDeadlineMs' | 'periodMs' | 'timeoutMs' | 'killGraceMs', number>>;

/** What a log line tells of a transition; null: nothing worth a line. Levels are syslog's. */
export const narrate = (
  before: Tunnel,
  event: Event,
  after: Tunnel,
  now: Now,
): { level: 3 | 4 | 6 | 7; message: string; fields: Record<string, string | number> } | null => {
  const failure = after.lastFailure;
  if (event.type === 'spawned')
    return { level: 6, message: 'ssh started', fields: { pid: event.pid, starts: after.starts } };
  if (event.type === 'connected') return { level: 7, message: 'ssh logged in', fields: {} };
  if (event.type === 'beatOk')
    return before.state === 'Connected' && before.connectedAt !== null && before.failedBeats === 0
      ? { level: 7, message: 'heartbeat', fields: { rttMs: round(event.rttMs) } }
      : { level: 6, message: 'connected: bytes go round', fields: { rttMs: round(event.rttMs) } };
  if (event.type === 'beatSlow')
    return {
      level: 6,
      message: 'heartbeat slow: bytes flow, its answer is waited for',
      fields: { waitedMs: Math.round(event.waitedMs) },
    };
  if (event.type === 'beatFailed')
    return {
      level: 4,
      message: 'heartbeat failed',
      fields: { reason: event.reason, detail: event.detail, failedBeats: after.failedBeats },
    };
  if (event.type === 'exited' && before.state !== 'Ending' && failure !== null)
    return {
      level: 4,
      message:
        after.state === 'Waiting'
          ? `ssh ended; next start in ${Math.round(after.pauseMs)} ms`
          : 'ssh ended; starting again',
      fields: {
        reason: failure.reason,
        detail: failure.detail,
        pauseMs: Math.round(after.pauseMs),
        lifeMs: Math.round(now.at - before.startedAt),
      },
    };
  if (event.type === 'connect' && failure !== null)
    return { level: 4, message: 'no connection in time', fields: { reason: failure.reason, detail: failure.detail } };
  if (event.type === 'kill') return { level: 4, message: 'ssh did not end on SIGTERM: SIGKILL', fields: {} };
  if (event.type === 'suspend' || event.type === 'resume')
    return { level: 6, message: `tunnel: ${event.type}`, fields: {} };
  if (event.type === 'restart') return { level: 6, message: 'starting again', fields: { why: event.why } };
  if (event.type === 'stop') return { level: 6, message: 'told to stop', fields: { signal: event.signal } };
  return null;
};

const round = (ms: number): number => Math.round(ms * 100) / 100;
