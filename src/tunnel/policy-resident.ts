import { pauseMs, type RetryLimits, retryClass } from './backoff.ts';
import type { Failure, Now, Policy, Tunnel } from './machine.ts';

/** What the resident policy is configured with. */
export type ResidentPolicyOptions = {
  readonly bornAt: number;
  /** Time between beats, ms. */
  readonly periodMs: number;
  /** Time from the first beat of a connection that came back to the second, ms (AUTOSSH_FIRST_POLL). */
  readonly firstBeatMs: number;
  /** Failed beats in a row that end an ssh; between them the next beat comes at once. */
  readonly failureThreshold: number;
  readonly connectDeadlineMs: number;
  readonly killGraceMs: number;
  /** A connection that lived this long is proven: its end sets the backoff back and is answered at once (AUTOSSH_GATETIME). */
  readonly provenMs: number;
  readonly retry: RetryLimits;
  /** The first ssh is not started before: an earlier supervisor of this tunnel was still waiting when it died. */
  readonly notBefore?: number;
};

/** The pause before a beat that follows a failed one: the failure itself has already taken a timeout's time. */
const AGAIN_MS = 250;

/**
 * How a sidecar, a gateway or `run -f` decides: it never gives up and never exits but on SIGTERM (then with 0). A proven
 * connection that ends is replaced at once; everything else is retried by the class of its reason (backoff.ts). The options are
 * asked at each decision: they may change while the tunnel lives.
 */
export const residentPolicy = (options: ResidentPolicyOptions): Policy => ({
  get failureThreshold() {
    return options.failureThreshold;
  },
  get connectDeadlineMs() {
    return options.connectDeadlineMs;
  },
  get killGraceMs() {
    return options.killGraceMs;
  },
  lifetimeEndsAt: null,
  stopCode: 0,
  firstAlarmAt: () => null,
  nextAlarmAt: (tunnel, now) => now.at + pauseBeforeBeat(tunnel, options),
  beforeStart: (tunnel, now) => ({ go: true, pauseMs: pauseBefore(tunnel, now, options), changes: {} }),
  afterExit: (tunnel, exit, now) => ({
    next: { to: 'restart' },
    changes: exit.amended ? forgiven(tunnel, exit) : counted(tunnel, exit, now, options),
  }),
  afterSick: (tunnel, failure, now) => counted(tunnel, failure, now, options),
});

const pauseBeforeBeat = ({ state, failedBeats, goodBeats }: Tunnel, options: ResidentPolicyOptions): number => {
  if (failedBeats > 0) return AGAIN_MS;
  // The first beat proves the connection, so it is not waited for.
  if (state === 'Connecting') return 0;
  return goodBeats === 1 ? options.firstBeatMs : options.periodMs;
};

/** The retry counters after a failure: a proven connection starts them afresh. */
const counted = (tunnel: Tunnel, failure: Failure, now: Now, options: ResidentPolicyOptions): Partial<Tunnel> => {
  if (isProven(tunnel, now.at, options)) return { attempts: { network: 0, port: 0, auth: 0 } };
  const kind = retryClass(failure.reason);
  return { attempts: { ...tunnel.attempts, [kind]: tunnel.attempts[kind] + 1 } };
};

const forgiven = (tunnel: Tunnel, failure: Failure): Partial<Tunnel> => ({
  attempts: { ...tunnel.attempts, [retryClass(failure.reason)]: 0 },
});

const isProven = (tunnel: Tunnel, at: number, options: ResidentPolicyOptions): boolean =>
  tunnel.connectedAt !== null && at - tunnel.connectedAt >= options.provenMs;

const pauseBefore = (tunnel: Tunnel, now: Now, options: ResidentPolicyOptions): number => {
  if (tunnel.state === 'Idle' && options.notBefore !== undefined) return Math.max(0, options.notBefore - now.at);
  if (tunnel.lastFailure === null) return 0;
  const kind = retryClass(tunnel.lastFailure.reason);
  const attempt = tunnel.attempts[kind];
  return attempt === 0 ? 0 : pauseMs(kind, attempt, options.retry, now.random);
};
