import type { Condition } from '../kube/conditions.ts';

/** While all is well, ms: a pod whose readiness changes makes itself heard, so this is only for what no watch tells. */
const CALM_MS = 30_000;
/** Just after something went wrong, ms. */
const ANXIOUS_MS = 2_000;
/** So that a thousand tunnels that were started together are not asked together for ever. */
const JITTER = 0.2;

/**
 * When the pods of a tunnel are asked for their status again, in ms: often at first where it is not ready, or where pods run an older
 * configuration than the newest (since `behindSince`, in Unix ms), and the more seldom the longer that lasts, so that tunnels nobody
 * mends cost no more than healthy ones. `random` is of [0, 1).
 */
export const askAgainAfterMs = (
  ready: Condition | undefined,
  behindSince: number | null,
  now: Date,
  random: number,
): number => {
  const unreadySince = ready?.status === 'True' ? Number.NaN : Date.parse(ready?.lastTransitionTime ?? '');
  const pauses = [unreadySince, behindSince ?? Number.NaN]
    .filter((since) => !Number.isNaN(since))
    .map((since) => Math.max(ANXIOUS_MS, (now.getTime() - since) / 10));
  return jittered(Math.min(CALM_MS, ...pauses), random);
};

/** When to look again for what no watch may tell and what will not last, in ms. `random` is of [0, 1). */
export const lookSoonMs = (random: number): number => jittered(ANXIOUS_MS, random);

/** When to look again for what no watch may tell and what waits for a person, in ms. `random` is of [0, 1). */
export const lookLaterMs = (random: number): number => jittered(CALM_MS, random);

const jittered = (ms: number, random: number): number => Math.round(ms * (1 - JITTER + 2 * JITTER * random));
