import { setImmediate as nextLook, setTimeout as pause } from 'node:timers/promises';
import { type Beat, lost, refused } from './heartbeat.ts';
import { LONGEST_BEAT_MS, type PatientOptions, patiently } from './heartbeat-patient.ts';

/** What is asked of the server: `timeoutMs` is for all of it. */
export type Proof = (timeoutMs: number, signal: AbortSignal) => Promise<Beat>;

export type JudgeOptions = {
  /** Asks for any answer of the server. */
  readonly ping: Proof;
  readonly patience: PatientOptions;
  /** What is said of one that stays silent. */
  readonly silence: (ms: number) => string;
};

/** A text to an echo service goes there and back twice: for the channel, and then itself. The other two are for a queue that grows. */
const ROUNDS = 4;

/**
 * A beat that leads further than the server, to an echo service or a target. Where that stays silent a ping tells, from half of the
 * time on, whose silence it is: a server that answers is not to blame, and another ssh would not make the target speak. The ping tells
 * as well how slow the way is at the moment: by so much longer than the timeout the target may take, as long as bytes flow.
 */
export const judged = async (
  proof: Proof,
  { ping, patience, silence }: JudgeOptions,
  signal: AbortSignal,
): Promise<Beat> => {
  const { timeoutMs } = patience;
  let serverAnswered = false;

  const silentTarget = async (enough: AbortSignal): Promise<Beat> => {
    await pause(timeoutMs / 2, null, { signal: enough });
    const asked = performance.now();
    const { ok } = await ping(LONGEST_BEAT_MS, enough);
    const now = performance.now();
    serverAnswered = ok;
    const deadline = ok ? asked + timeoutMs / 2 + ROUNDS * (now - asked) : now + LONGEST_BEAT_MS;
    await pause(Math.max(0, deadline - now), null, { signal: enough });
    // After a halt of this process an answer may be there that was not read yet.
    await nextLook(null, { signal: enough });
    return refused('TargetUnreachable', silence(timeoutMs));
  };

  const beat = await patiently(
    async (enough) => {
      const decided = new AbortController();
      const until = AbortSignal.any([enough, decided.signal]);
      const both = [proof(LONGEST_BEAT_MS, until), silentTarget(until)] as const;
      try {
        return await Promise.race(both);
      } finally {
        decided.abort(new Error('the beat is over'));
        await Promise.allSettled(both);
      }
    },
    signal,
    patience,
  );
  if (beat !== null) return beat;
  return serverAnswered ? refused('TargetUnreachable', silence(timeoutMs)) : lost(silence(timeoutMs));
};
