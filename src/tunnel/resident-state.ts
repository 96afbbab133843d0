import type { Reason } from '../api/reasons.ts';
import type { Event, Tunnel } from './machine.ts';
import { newResidentPast, type ResidentPast, remember } from './resident-past.ts';

/** What is worth telling of a resident tunnel, kept up to date from its transitions alone. Times are Unix milliseconds. */
export type ResidentState = {
  readonly connected: boolean;
  /** ssh is logged in and the server answers, were it only to refuse what the heartbeat asks for: forwards are in place. */
  readonly sessionUp: boolean;
  readonly suspended: boolean;
  /** Why not, or why the last connection was lost; null once bytes went round again. */
  readonly reason: Reason | null;
  readonly detail: string;
  readonly connectedSince: number | null;
  /** When bytes were last seen to go round; stays null with method None, which sees none. */
  readonly lastBeatAt: number | null;
  readonly lastRttMs: number | null;
  /** How many ssh have run: what could not be made ready or run at all is only a failure. */
  readonly starts: number;
  readonly failures: number;
  /** Whether any beat ever came back: what a startup probe waits for. */
  readonly everConnected: boolean;
  readonly past: ResidentPast;
};

export const newResidentState: ResidentState = {
  connected: false,
  sessionUp: false,
  suspended: false,
  reason: null,
  detail: '',
  connectedSince: null,
  lastBeatAt: null,
  lastRttMs: null,
  starts: 0,
  failures: 0,
  everConnected: false,
  past: newResidentPast,
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
  const now = present(state, before, event, after, unixMs);
  const failed = now.failures > state.failures;
  return { ...now, past: remember(state.past, { before, event, after, connected: now.connected, failed }, unixMs) };
};

const present = (state: ResidentState, before: Tunnel, event: Event, after: Tunnel, unixMs: number): ResidentState => {
  const starts = state.starts + (event.type === 'spawned' ? 1 : 0);
  const moved: ResidentState = { ...state, suspended: after.state === 'Suspended', starts };
  if (event.type === 'beatOk' && after.state === 'Connected')
    return {
      ...moved,
      connected: true,
      sessionUp: true,
      everConnected: true,
      reason: null,
      detail: '',
      connectedSince: state.connectedSince ?? unixMs,
      lastBeatAt: event.rttMs === null ? state.lastBeatAt : unixMs,
      lastRttMs: event.rttMs,
    };
  if (event.type === 'beatRefused' && after.state === 'Connected')
    return {
      ...moved,
      connected: false,
      sessionUp: true,
      connectedSince: null,
      reason: event.reason,
      detail: event.detail,
      // The same refusal, beat after beat, is one failure.
      failures: state.failures + (isNews(state, event) ? 1 : 0),
    };
  const isLost = hasEnded(before, event, after);
  const failure = after.lastFailure !== before.lastFailure ? after.lastFailure : null;
  return {
    ...moved,
    ...(isLost ? { connected: false, sessionUp: false, connectedSince: null } : {}),
    ...(failure === null || !isLost
      ? {}
      : { reason: failure.reason, detail: failure.detail, failures: state.failures + 1 }),
  };
};

/** Whether a connection has gone with this event: with its ssh, also where the next one is started in the same moment. */
export const hasEnded = (before: Tunnel, event: Event, after: Tunnel): boolean =>
  event.type === 'exited' ||
  (before.state !== after.state && after.state !== 'Connected' && after.state !== 'Connecting');

const isNews = (state: ResidentState, event: { readonly reason: Reason }): boolean =>
  state.connected || state.reason !== event.reason;

/** The longest time, in ms, for which nothing may happen to a healthy supervisor in this state; null: any. */
export const longestSilenceMs = (tunnel: Tunnel, limits: SilenceLimits): number | null => {
  switch (tunnel.state) {
    case 'Waiting':
      return tunnel.pauseMs;
    case 'Connecting':
      return limits.connectDeadlineMs;
    case 'Connected':
      return (tunnel.goodBeats === 1 ? limits.firstBeatMs : limits.periodMs) + limits.timeoutMs;
    case 'Ending':
      return limits.killGraceMs;
    default:
      return null;
  }
};

export type SilenceLimits = Readonly<
  Record<'connectDeadlineMs' | 'periodMs' | 'firstBeatMs' | 'timeoutMs' | 'killGraceMs', number>
>;
