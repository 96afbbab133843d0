import { DEFAULTS } from '../api/defaults.ts';
import type { TunnelDocument } from '../api/document.ts';
import type { HeartbeatMethod } from '../api/heartbeat-methods.ts';
import { RESIDENT_ENV_NAMES, type ResidentEnv, residentEnvProblem } from '../api/resident-env.ts';
import type { RetryLimits } from './backoff.ts';
import { LOG_DEBUG } from './log-line.ts';

/** What a resident tunnel runs by, after precedence: typed specification, then AUTOSSH_*, then defaults. Times in milliseconds. */
export type ResidentSettings = {
  readonly method: HeartbeatMethod;
  readonly periodMs: number;
  /** From the first beat of a connection, which is at once, to the second. */
  readonly firstBeatMs: number;
  readonly timeoutMs: number;
  readonly failureThreshold: number;
  /** Without a successful beat for this long, liveness fails; null is never. */
  readonly livenessDeadlineMs: number | null;
  /** A connection that lived this long is proven (AUTOSSH_GATETIME). */
  readonly provenMs: number;
  /** A connection is replaced after this long (AUTOSSH_MAXLIFETIME); null is never. */
  readonly maxLifetimeMs: number | null;
  readonly retry: RetryLimits;
  /** Text sent with each beat (AUTOSSH_MESSAGE). */
  readonly message: string;
  /** As syslog(3) counts. */
  readonly logLevel: number;
};

export type ResidentSettingsResult = {
  readonly settings: ResidentSettings;
  /** Variables that were refused, one sentence each and without their values; they count as unset. */
  readonly problems: readonly string[];
};

/**
 * The settings of a resident tunnel. `sources` are AUTOSSH_* in the order of increasing weight: those of envFrom one by one, then those
 * of the tunnel's own ConfigMap. A refused value falls back to the source before it, so that a bad edit cannot stop a tunnel.
 */
export const residentSettings = (document: TunnelDocument, sources: readonly ResidentEnv[]): ResidentSettingsResult => {
  const problems: string[] = [];
  const env: { -readonly [Name in keyof ResidentEnv]: ResidentEnv[Name] } = {};
  for (const source of sources)
    for (const name of RESIDENT_ENV_NAMES) {
      const value = source[name];
      if (value === undefined) continue;
      const problem = residentEnvProblem(name, value);
      if (problem === null) env[name] = value;
      else problems.push(problem);
    }
  const { heartbeat, retry } = document;
  const period = heartbeat.periodSeconds ?? seconds(env.AUTOSSH_POLL) ?? DEFAULTS.heartbeat.periodSeconds;
  const settings: ResidentSettings = {
    method: heartbeat.method,
    periodMs: period * 1000,
    firstBeatMs: (seconds(env.AUTOSSH_FIRST_POLL) ?? period) * 1000,
    timeoutMs: heartbeat.timeoutSeconds * 1000,
    failureThreshold: heartbeat.failureThreshold,
    livenessDeadlineMs: heartbeat.livenessDeadlineSeconds === 0 ? null : heartbeat.livenessDeadlineSeconds * 1000,
    provenMs: (seconds(env.AUTOSSH_GATETIME) ?? DEFAULTS.gateTimeSeconds) * 1000,
    maxLifetimeMs: (seconds(env.AUTOSSH_MAXLIFETIME) ?? DEFAULTS.maxLifetimeSeconds) * 1000 || null,
    retry,
    message: env.AUTOSSH_MESSAGE ?? '',
    logLevel: env.AUTOSSH_DEBUG === undefined ? (seconds(env.AUTOSSH_LOGLEVEL) ?? DEFAULTS.logLevel) : LOG_DEBUG,
  };
  return { settings, problems };
};

const seconds = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
