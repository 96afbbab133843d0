import type { Event, Failure, Now, Tunnel } from './machine.ts';
import { allIsNews, cameBack, failedAgain, isRepeating, noOutage, type Outage, type Telling } from './quiet-repeats.ts';
import type { ResidentState } from './resident-state.ts';

/** What a log line tells of a transition. Levels are syslog's. */
export type Line = {
  readonly level: 3 | 4 | 6 | 7;
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
};

/** What a transition adds to the log, if anything, and what is now known to have been told. */
export type Narration = { readonly outage: Outage; readonly line: Line | null };

type Told = Pick<ResidentState, 'connected' | 'failures' | 'starts'>;
export type Transition = {
  readonly before: Tunnel;
  readonly event: Event;
  readonly after: Tunnel;
  readonly was: Told;
  readonly is: Told;
};

/**
 * Tells a transition as a line. What only repeats itself goes down to debugging, with a sum from time to time (quiet-repeats.ts).
 * `was` and `is` are what is told elsewhere before and after it (resident-state.ts).
 */
export const narrate = (outage: Outage, { before, event, after, was, is }: Transition, now: Now): Narration => {
  const line = lineOf({ before, event, after, was, is }, now);
  const failed = is.failures > was.failures;
  const failure = after.lastFailure;
  if (failed && failure !== null) {
    const { outage: next, telling } = failedAgain(outage, failure, now.at);
    const told = failureLine(telling, failure, line);
    // Within an outage ssh's own lines are only there for debugging: what is news brings them along.
    const lines =
      event.type === 'exited' && telling.tell !== 'nothing' && isRepeating(outage) ? event.lines : undefined;
    return {
      outage: next,
      line: told === null || !lines?.length ? told : { ...told, fields: { ...told.fields, ssh: lines.join('\n') } },
    };
  }
  if (event.type === 'beatOk' && after.state === 'Connected') {
    const { outage: next, telling } = cameBack(outage, now.at);
    return { outage: next, line: recoveryLine(telling, event.rttMs, line, outage) };
  }
  if (event.type === 'suspend' || event.type === 'stop') return { outage: noOutage, line };
  // A refusal that counts as a failure is new; it repeats with every beat.
  if (event.type === 'beatRefused') return { outage, line: line === null ? null : { ...line, level: 7 } };
  if (event.type === 'restart') return { outage: allIsNews(outage), line };
  return { outage, line: isRepeating(outage) && line !== null && line.level > 3 ? { ...line, level: 7 } : line };
};

const failureLine = (telling: Telling, { reason, detail }: Failure, line: Line | null): Line | null => {
  if (telling.tell === 'summary') {
    const { count, spanMs, nextMs } = telling;
    const message = `still failing: ${reason}, ${count} times in ${minutes(spanMs)}; told again in ${minutes(nextMs)} at the earliest`;
    return { level: 4, message, fields: { reason, detail, count, spanMs: Math.round(spanMs), nextLineMs: nextMs } };
  }
  return line !== null && telling.tell === 'nothing' ? { ...line, level: 7 } : line;
};

const recoveryLine = (telling: Telling, rttMs: number | null, line: Line | null, outage: Outage): Line | null => {
  if (telling.tell !== 'recovered') return line !== null && isRepeating(outage) ? { ...line, level: 7 } : line;
  const { downMs, attempts } = telling;
  return {
    level: 6,
    message: rttMs === null ? LOGGED_IN : 'connected: bytes go round again',
    fields: { ...(rttMs === null ? {} : { rttMs: round(rttMs) }), downMs: Math.round(downMs), attempts },
  };
};

/** All that method None can tell. */
const LOGGED_IN = 'connected: ssh is logged in';

/** What a transition alone is worth. */
const lineOf = ({ before, event, after, was, is }: Transition, now: Now): Line | null => {
  const failure = after.lastFailure;
  if (event.type === 'spawned')
    return { level: 6, message: 'ssh started', fields: { pid: event.pid, starts: is.starts } };
  if (event.type === 'connected') return { level: 7, message: 'ssh logged in', fields: {} };
  if (event.type === 'beatOk') {
    const fields: Line['fields'] = event.rttMs === null ? {} : { rttMs: round(event.rttMs) };
    if (!was.connected)
      return { level: 6, message: event.rttMs === null ? LOGGED_IN : 'connected: bytes go round', fields };
    return before.failedBeats > 0
      ? { level: 6, message: 'heartbeat is back', fields }
      : { level: 7, message: 'heartbeat', fields };
  }
  if (event.type === 'beatSlow')
    return {
      level: 6,
      message: 'heartbeat slow: bytes flow, its answer is waited for',
      fields: { waitedMs: Math.round(event.waitedMs) },
    };
  if (event.type === 'beatRefused')
    return {
      level: 4,
      message: 'heartbeat refused: the server answers, so ssh stays',
      fields: { reason: event.reason, detail: event.detail },
    };
  if (event.type === 'beatFailed')
    return {
      level: 4,
      message: 'heartbeat failed',
      fields: { reason: event.reason, detail: event.detail, failedBeats: after.failedBeats },
    };
  if (event.type === 'exited' && failure !== null)
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
const minutes = (ms: number): string => (ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`);
