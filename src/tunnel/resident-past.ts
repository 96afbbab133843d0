import type { Reason } from '../api/reasons.ts';
import type { Event, Tunnel } from './machine.ts';

/** What a person sees a tunnel do. */
export type Phase = 'Starting' | 'Connecting' | 'Connected' | 'Ending' | 'Waiting' | 'Suspended';

/** One heartbeat. `rttMs` is null where it did not come back. */
export type PastBeat = { readonly at: number; readonly rttMs: number | null };

/** Failures in a row that say the same. */
export type PastFailure = {
  readonly reason: Reason;
  readonly detail: string;
  readonly firstAt: number;
  readonly lastAt: number;
  readonly count: number;
  /** What ssh said last, the oldest line first. */
  readonly lines: readonly string[];
};

/** The recent past of a resident tunnel, in bounded memory. Times are Unix milliseconds. */
export type ResidentPast = {
  readonly phase: Phase;
  readonly phaseSince: number | null;
  /** When ssh is started next; null: it runs, or nobody waits for it. */
  readonly nextStartAt: number | null;
  /** Oldest first, as failures. */
  readonly beats: readonly PastBeat[];
  readonly failures: readonly PastFailure[];
};

export const newResidentPast: ResidentPast = {
  phase: 'Starting',
  phaseSince: null,
  nextStartAt: null,
  beats: [],
  failures: [],
};

/** Ten minutes of beats at the default period. */
export const MOST_BEATS = 120;
export const MOST_FAILURES = 10;
export const MOST_LINES = 8;
const LONGEST_LINE = 400;

/** What of a transition is remembered. `failed` is that it counts as a failure; `connected` that bytes go round after it. */
export const remember = (
  past: ResidentPast,
  { before, event, after, connected, failed }: Transition,
  unixMs: number,
): ResidentPast => {
  const phase = phaseOf(after, connected);
  return {
    phase,
    phaseSince: phase === past.phase && past.phaseSince !== null ? past.phaseSince : unixMs,
    nextStartAt:
      after.state !== 'Waiting' ? null : before.state === 'Waiting' ? past.nextStartAt : unixMs + after.pauseMs,
    beats: withBeat(past.beats, event, unixMs),
    failures: withFailure(past.failures, { before, event, after, failed }, unixMs),
  };
};

export type Transition = {
  readonly before: Tunnel;
  readonly event: Event;
  readonly after: Tunnel;
  readonly connected: boolean;
  readonly failed: boolean;
};

const phaseOf = ({ state }: Tunnel, connected: boolean): Phase => {
  if (state === 'Connected') return connected ? 'Connected' : 'Connecting';
  if (state === 'Connecting' || state === 'Waiting' || state === 'Suspended') return state;
  return state === 'Idle' ? 'Starting' : 'Ending';
};

const withBeat = (beats: readonly PastBeat[], event: Event, at: number): readonly PastBeat[] => {
  if (event.type !== 'beatOk' && event.type !== 'beatFailed' && event.type !== 'beatRefused') return beats;
  // Method None measures nothing.
  if (event.type === 'beatOk' && event.rttMs === null) return beats;
  return [...beats, { at, rttMs: event.type === 'beatOk' ? event.rttMs : null }].slice(-MOST_BEATS);
};

const withFailure = (
  failures: readonly PastFailure[],
  { before, event, after, failed }: Omit<Transition, 'connected'>,
  at: number,
): readonly PastFailure[] => {
  const last = failures.at(-1);
  const lines = event.type === 'exited' ? tidy(event.lines ?? []) : [];
  // Of an ssh that we ended because of a failure: its last words come when the failure is already told.
  if (!failed)
    return before.state === 'Ending' && before.lastFailure !== null && last !== undefined && lines.length > 0
      ? [...failures.slice(0, -1), { ...last, lines }]
      : failures;
  const failure = after.lastFailure;
  if (failure === null) return failures;
  const { reason } = failure;
  const detail = tidyLine(failure.detail);
  return last !== undefined && kindOf(last) === kindOf(failure)
    ? [...failures.slice(0, -1), { ...last, detail, lastAt: at, count: last.count + 1, lines }]
    : [...failures, { reason, detail, firstAt: at, lastAt: at, count: 1, lines }].slice(-MOST_FAILURES);
};

/** What two failures have in common that are the same: ports, times and process ids in the words do not count. */
export const kindOf = ({ reason, detail }: Pick<PastFailure, 'reason' | 'detail'>): string =>
  `${reason} ${tidyLine(detail).replace(/\d+/g, '0')}`;

const tidy = (lines: readonly string[]): readonly string[] => lines.slice(-MOST_LINES).map(tidyLine);
const tidyLine = (line: string): string => (line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line);
