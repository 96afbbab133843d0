import { type Glance, isFlowing, observeTraffic, type Traffic } from '../tunnel/traffic.ts';
import { type Heartbeat, lost } from './heartbeat.ts';

export type PatientOptions = {
  /** How long a beat may take while nothing else moves on the connection, ms. */
  readonly timeoutMs: number;
  /** The connection of ssh now; null where that cannot be seen: then the timeout alone counts. */
  readonly glance: () => Glance | null;
  /** Told when the timeout is over and the beat goes on, and again every few seconds. */
  readonly onSlow: (waitedMs: number) => void;
};

/** A beat that takes longer than this failed, whatever else moves: a server may acknowledge and do nothing. The inner timeouts are this. */
export const LONGEST_BEAT_MS = 300_000;
/** The first look comes when a beat is late for an idle connection, so that looking costs nothing in the good times. */
const FIRST_LOOK_MS = 1_000;
const LOOK_EVERY_MS = 250;
const TELL_EVERY_MS = 5_000;
/** A look that comes later than planned by more than this: the process stood still (a busy machine, a laptop that slept). */
const HALT_MS = 500;

/**
 * A heartbeat whose timeout holds for a connection that is still: while bytes flow on it (traffic.ts), a late answer is waited for, and
 * proves what a timely one does. Time for which this process stood still is no time that was waited. `inner` must have timeouts of
 * LONGEST_BEAT_MS.
 */
export const patientHeartbeat = (inner: Heartbeat, options: PatientOptions): Heartbeat => ({
  get method() {
    return inner.method;
  },
  sshArgs: inner.sshArgs,
  open: inner.open,
  ...(inner.leave === undefined ? {} : { leave: inner.leave }),
  close: inner.close,
  beat: async (signal) =>
    (await patiently(inner.beat, signal, options)) ?? lost(`no answer within ${options.timeoutMs} ms`),
});

/**
 * What `work` resolves with; null where it had to be ended, because it took longer than the timeout and nothing moved on the connection.
 * Rejects as `work` does.
 */
export const patiently = async <T>(
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  options: PatientOptions,
): Promise<T | null> => {
  const enough = new AbortController();
  // Not AbortSignal.any: the connection's signal would remember every beat for as long as it lives.
  const end = () => enough.abort(signal.reason);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const result = work(enough.signal).finally(() => signal.removeEventListener('abort', end));
  const first = await Promise.race([result, givenUp(result, options)]);
  if (first !== null) return first;
  enough.abort(new Error('no answer in time'));
  await result.catch(() => {});
  return null;
};

/** Resolves with null when the work has no hope any more; never, when it ends before. */
const givenUp = (work: Promise<unknown>, { timeoutMs, glance, onSlow }: PatientOptions): Promise<null> =>
  new Promise((resolve) => {
    let begun = performance.now();
    let due = begun;
    let traffic: Traffic | null = null;
    /** One that comes with this look is not worth a word. */
    let tellAfter = timeoutMs + LOOK_EVERY_MS;
    const look = () => {
      const now = performance.now();
      // Nobody waited then, and what came meanwhile is not looked at yet: timers come first.
      if (now - due > HALT_MS) begun += now - due;
      const seen = glance();
      traffic = seen === null ? null : observeTraffic(traffic, seen);
      const waited = now - begun;
      if (waited < timeoutMs) return again(Math.min(LOOK_EVERY_MS, timeoutMs - waited));
      if (waited >= LONGEST_BEAT_MS || traffic === null || !isFlowing(traffic, now)) return resolve(null);
      if (waited >= tellAfter) {
        tellAfter = waited + TELL_EVERY_MS;
        onSlow(waited);
      }
      again(LOOK_EVERY_MS);
    };
    let timer: NodeJS.Timeout;
    const again = (ms: number) => {
      due = performance.now() + ms;
      timer = setTimeout(look, ms);
    };
    again(Math.min(FIRST_LOOK_MS, timeoutMs / 2));
    const stop = () => clearTimeout(timer);
    work.then(stop, stop);
  });
