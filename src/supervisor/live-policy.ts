import type { Policy } from '../tunnel/machine.ts';
import { residentPolicy } from '../tunnel/policy-resident.ts';
import type { ResidentConfig } from './resident-config.ts';

/** An ssh without a terminal has nothing to put right: one that does not go at once is stuck. */
export const KILL_GRACE_MS = 2_000;

/** ssh's own timeout bounds each TCP connection; login and forwards need a time of their own, at every hop. */
export const connectDeadlineMs = ({ document: { ssh, jumpHosts } }: ResidentConfig): number =>
  [ssh, ...jumpHosts].reduce((sum, { options }) => sum + options.connectTimeoutSeconds * 1000 + 10_000, 0);

/** The resident policy on whatever configuration is in force at each decision. Times are monotonic milliseconds. */
export const livePolicy = (
  config: () => ResidentConfig,
  life: { readonly bornAt: number; readonly notBefore: number },
): Policy =>
  residentPolicy({
    ...life,
    killGraceMs: KILL_GRACE_MS,
    get periodMs() {
      return config().periodMs;
    },
    get firstBeatMs() {
      return config().firstBeatMs;
    },
    get failureThreshold() {
      return config().failureThreshold;
    },
    get connectDeadlineMs() {
      return connectDeadlineMs(config());
    },
    get provenMs() {
      return config().provenMs;
    },
    get retry() {
      return config().retry;
    },
  });
