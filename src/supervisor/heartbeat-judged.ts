import { type Beat, refused } from './heartbeat.ts';

/** What is asked of the server: `timeoutMs` is for all of it. */
export type Proof = (timeoutMs: number, signal: AbortSignal) => Promise<Beat>;

/**
 * A beat that leads further than the server, to an echo service or a target. Where that stays silent a ping tells, from half of the
 * time on, whose silence it is: a server that answers is not to blame, and another ssh would not make the target speak.
 */
export const judged = async (
  proof: Proof,
  ping: (timeoutMs: number, signal: AbortSignal) => Promise<Beat>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Beat> => {
  const half = timeoutMs / 2;
  let pinged: Promise<Beat> | null = null;
  const timer = setTimeout(() => {
    pinged = ping(half, signal);
  }, half);
  const beat = await proof(timeoutMs, signal);
  clearTimeout(timer);
  if (beat.ok || beat.serverAnswered || pinged === null) return beat;
  const { ok } = await (pinged as Promise<Beat>);
  return ok ? refused('TargetUnreachable', beat.detail) : beat;
};
