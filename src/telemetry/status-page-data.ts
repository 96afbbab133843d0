/** What the page for a person shows, as `/status` on loopback gives it. Times are RFC 3339. Fields are only ever added. */
export type StatusPageData = {
  readonly version: string;
  /** When this was written, by the clock of the pod. */
  readonly now: string;
  readonly tunnel: string;
  readonly namespace: string;
  readonly connected: boolean;
  readonly suspended: boolean;
  /** What the tunnel does (a Phase of src/tunnel/resident-past.ts), and since when. */
  readonly phase: string;
  readonly phaseSince: string | null;
  /** Why it is not connected, or null; and the words for it. */
  readonly reason: string | null;
  readonly detail: string;
  /** When ssh is started next; null: it runs, or it is not to. */
  readonly nextStart: string | null;
  readonly lastHeartbeat: string | null;
  readonly sshStarts: number;
  readonly disconnects: number;
  readonly generation: number;
  /** Why the newest configuration is not in force; null: it is. */
  readonly configProblem: string | null;
  /** `user@host:port`, the jump hosts first. */
  readonly path: readonly string[];
  readonly hostKeyVerified: boolean;
  /** `method` is the one in force (null before there was an ssh), `wanted` what the configuration asks for; null before there is one. */
  readonly heartbeat: {
    readonly method: string | null;
    readonly wanted: string;
    readonly periodSeconds: number;
    readonly timeoutSeconds: number;
    readonly failureThreshold: number;
  } | null;
  /** Oldest first; `rttMs` is null where the beat did not come back. */
  readonly beats: readonly { readonly at: string; readonly rttMs: number | null }[];
  readonly forwards: readonly ForwardStatus[];
  /** Oldest first; failures in a row that say the same are one. */
  readonly failures: readonly {
    readonly reason: string;
    readonly detail: string;
    readonly first: string;
    readonly last: string;
    readonly count: number;
    /** ssh's own last lines. */
    readonly lines: readonly string[];
  }[];
};

export type ForwardStatus = {
  readonly name: string;
  readonly kind: string;
  readonly listen: string;
  /** null where the client of the forward names it (dynamic). */
  readonly target: string | null;
  readonly up: boolean;
  /** Why it is not up; null: it is, or nobody knows yet. */
  readonly reason: string | null;
};
