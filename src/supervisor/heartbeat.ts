import type { Reason } from '../api/reasons.ts';
import type { ControlSocket } from './control-socket.ts';

/** The outcome of one beat: how long the round trip took (null: the method measures none), or why there was none. */
export type Beat =
  | { readonly ok: true; readonly rttMs: number | null }
  | {
      readonly ok: false;
      readonly reason: Reason;
      readonly detail: string;
      /** The path lives: the server was heard, but not with what the method asks for. Another ssh would mend nothing. */
      readonly serverAnswered: boolean;
    };

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
  /** Takes its forwards off a connection that lives on with another heartbeat. */
  readonly leave?: (signal: AbortSignal) => Promise<void>;
  /** Frees what this connection's beats used. */
  readonly close: () => void;
};

/** A beat that failed because no bytes came round. */
export const lost = (detail: string): Beat => ({ ok: false, reason: 'HeartbeatLost', detail, serverAnswered: false });

/** A beat to which the server gave another answer than the method asks for. */
export const refused = (reason: Reason, detail: string): Beat => ({ ok: false, reason, detail, serverAnswered: true });

/** The heartbeat of an ssh that has a control socket of its own: it goes with its ssh. */
export const onControlSocket = (control: ControlSocket, heartbeat: Heartbeat): Heartbeat => ({
  get method() {
    return heartbeat.method;
  },
  sshArgs: [...control.masterArgs, ...heartbeat.sshArgs],
  open: heartbeat.open,
  beat: heartbeat.beat,
  close: () => {
    heartbeat.close();
    control.remove();
  },
});
