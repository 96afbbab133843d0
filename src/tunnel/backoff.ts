import type { Reason } from '../api/reasons.ts';
import type { RetryClass } from './machine.ts';

/** The longest pauses between retries, in seconds, as `spec.retry` has them. */
export type RetryLimits = {
  readonly networkMaxSeconds: number;
  readonly remotePortBusySeconds: number;
  readonly authMaxSeconds: number;
};

/** No two starts are closer than this, however lucky the jitter: a refused connection must not spin. */
export const SHORTEST_PAUSE_MS = 100;
const NETWORK_FIRST_MS = 500;
const AUTH_FIRST_MS = 5_000;
/** A busy port is asked for again at a steady pace; a fifth of it, either way, keeps many tunnels apart. */
const PORT_JITTER = 0.2;

/**
 * How a reason is retried. What only a person can mend (a key, a host key, a setting) and what the server punishes (too many
 * connections) is asked for ever more seldom; what the network does by itself is asked for soon.
 */
export const retryClass = (reason: Reason): RetryClass => {
  switch (reason) {
    case 'AuthFailed':
    case 'IdentityMissing':
    case 'IdentityInvalid':
    case 'PassphraseWrong':
    case 'CertificateExpired':
    case 'HostKeyChanged':
    case 'HostKeyUnknown':
    case 'AlgorithmMismatch':
    case 'ServerBusy':
    case 'BadConfiguration':
      return 'auth';
    case 'RemoteForwardFailed':
    case 'RemotePortBusy':
    case 'LocalPortBusy':
      return 'port';
    default:
      return 'network';
  }
};

/** The bounds, in ms, between which the pause before retry number `attempt` (1 for the first) lies. */
export const pauseBounds = (kind: RetryClass, attempt: number, limits: RetryLimits): { min: number; max: number } => {
  switch (kind) {
    case 'port': {
      const pace = limits.remotePortBusySeconds * 1000;
      return { min: pace * (1 - PORT_JITTER), max: pace * (1 + PORT_JITTER) };
    }
    case 'network':
      return { min: SHORTEST_PAUSE_MS, max: grown(NETWORK_FIRST_MS, attempt, limits.networkMaxSeconds * 1000) };
    case 'auth': {
      // Half of it is certain: a server that counts failures must not see a lucky series of short pauses.
      const max = grown(AUTH_FIRST_MS, attempt, limits.authMaxSeconds * 1000);
      return { min: max / 2, max };
    }
  }
};

/** The pause before retry number `attempt`, in ms; `random` of [0, 1) picks within the bounds. */
export const pauseMs = (kind: RetryClass, attempt: number, limits: RetryLimits, random: number): number => {
  const { min, max } = pauseBounds(kind, attempt, limits);
  return Math.round(min + random * (max - min));
};

const grown = (first: number, attempt: number, most: number): number =>
  Math.max(SHORTEST_PAUSE_MS, Math.min(most, first * 2 ** Math.min(attempt - 1, 30)));
