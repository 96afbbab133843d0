import type { SidecarStatus } from './read-status.ts';

/** Questions in a row without an answer after which a sidecar counts as unreachable, ... */
const MISSES = 3;
/** ... or this long after the first of them, ms. */
const SILENCE_MS = 15_000;
/** A pod that changes has its tunnel looked at several times in a moment, ms: one silence, not many. */
const APART_MS = 1_000;
/** A container that has just started may not listen yet, ms: its silence means nothing for a while. */
const SILENT_AT_FIRST_MS = 15_000;

/** The last that a sidecar said, and its silence since. Times in Unix ms. */
export type Heard = {
  readonly answer: SidecarStatus;
  /** Of the container that said it: what one of an earlier life said is worth nothing. */
  readonly startedAt: number;
  readonly silence: { readonly since: number; readonly latest: number; readonly misses: number } | null;
};

/**
 * What counts after one more question: the answer; where there was none, the one before for a while, as a probe of a kubelet has a
 * failureThreshold, so that one lost packet does not turn a tunnel Unknown and back. Null: nothing is known of it.
 */
export const hear = (
  former: Heard | undefined,
  answer: SidecarStatus | null,
  { now, startedAt }: { readonly now: number; readonly startedAt: number },
): Heard | null => {
  if (answer !== null) return { answer, startedAt, silence: null };
  if (former === undefined || former.startedAt !== startedAt) return null;
  const { since, latest, misses } = former.silence ?? { since: now, latest: Number.NEGATIVE_INFINITY, misses: 0 };
  const silence =
    Math.abs(now - latest) < APART_MS ? { since, latest, misses } : { since, latest: now, misses: misses + 1 };
  return silence.misses >= MISSES || now - since >= SILENCE_MS ? null : { ...former, silence };
};

/** Whether the silence of a container that has said nothing yet is no news. Times in Unix ms. */
export const isStarting = (startedAt: number, now: number): boolean => now - startedAt < SILENT_AT_FIRST_MS;
