import type { HeartbeatMethod } from '../api/heartbeat-methods.ts';
import type { Tunnel } from './machine.ts';
import { longestSilenceMs, type ResidentState, type SilenceLimits } from './resident-state.ts';

/** Beyond what is planned for, the supervisor itself is stuck; far above what a busy node may delay. */
const STUCK_MS = 30_000;

/** What is known of a supervisor at one moment. Times are milliseconds, `now` is Unix time. */
export type Wellness = SilenceLimits & {
  readonly livenessDeadlineMs: number | null;
  readonly method: HeartbeatMethod;
  /** Since the last event of any kind. */
  readonly quietMs: number;
  readonly ageMs: number;
  readonly now: number;
};

/** Why a liveness probe fails; null: it does not. An outage alone is no reason, unless a deadline was asked for. */
export const unwellReason = (tunnel: Tunnel, state: ResidentState, facts: Wellness): string | null => {
  const limit = longestSilenceMs(tunnel, facts);
  if (limit !== null && facts.quietMs > limit + STUCK_MS) return 'the supervision is stuck';
  const deadline = facts.livenessDeadlineMs;
  if (deadline === null || state.suspended) return null;
  // Without beats, being logged in is all the health there is.
  if (facts.method === 'None' && state.connected) return null;
  const since = state.lastBeatAt ?? facts.now - facts.ageMs;
  return facts.now - since > deadline ? `no heartbeat for ${deadline / 1000} s` : null;
};
