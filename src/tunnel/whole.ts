import type { Reason } from '../api/reasons.ts';
import type { InPlace } from './forwards-in-place.ts';

/** Whether a tunnel does all that it is there for: bytes go round, and every forward is in place. */
export type Whole = {
  readonly connected: boolean;
  /** Why not: of the connection, else of the first forward that was refused. */
  readonly reason: Reason | null;
  /** Whether it ever was: what a startup probe waits for. */
  readonly everConnected: boolean;
};

export const notYetWhole: Whole = { connected: false, reason: null, everConnected: false };

/**
 * An app that is let in without its forward, or told that it is there, has been lied to: one refused forward is enough. But one that a
 * new configuration has just declared, and that nobody has tried yet, does not make a good tunnel a bad one for the moment it takes.
 */
export const wholeAfter = (
  was: Whole,
  bytes: { readonly connected: boolean; readonly reason: Reason | null },
  forwards: readonly InPlace[],
): Whole => {
  const refused = forwards.find((one) => !one.ok && one.reason !== null);
  const connected = bytes.connected && refused === undefined && (was.connected || forwards.every(({ ok }) => ok));
  const reason = !bytes.connected || refused === undefined || refused.ok ? bytes.reason : refused.reason;
  return { connected, reason, everConnected: was.everConnected || connected };
};
