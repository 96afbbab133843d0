import type { Reason } from '../api/reasons.ts';

/** The outcome of one beat: how long the round trip took, or why there was none. */
export type Beat =
  | { readonly ok: true; readonly rttMs: number }
  | { readonly ok: false; readonly reason: Reason; readonly detail: string };

/** One way of proving that bytes go round through the tunnel. */
export type Heartbeat = {
  /** Its name in logs, metrics and status. */
  readonly method: string;
  /** Options it adds to ssh's command line, in front of the user's own. */
  readonly sshArgs: readonly string[];
  /**
   * Gets ready on a connection that has just been started; resolves when the connection is up as far as this method can see.
   * Rejects only when `signal` ends it.
   */
  readonly open: (signal: AbortSignal) => Promise<void>;
  /** One beat, over when it succeeded, failed or ran out of time; never rejects. */
  readonly beat: (signal: AbortSignal) => Promise<Beat>;
  /** Frees what this connection's beats used. */
  readonly close: () => void;
};

/** A beat that failed because no bytes came round. */
export const lost = (detail: string): Beat => ({ ok: false, reason: 'HeartbeatLost', detail });
