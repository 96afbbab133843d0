/**
 * Whether the connection of an ssh is alive although a beat is late. On a saturated link an answer waits behind megabytes: ssh's own
 * windows (2 MiB for each channel) and the system's buffers hold half a minute of a 1 Mbit/s link. Ending such a session helps nobody,
 * since the next one would be as busy. What tells it from a dead one: its peer still acknowledges, or sends.
 */

/** The connection at one moment, in bytes since its start. */
export type Glance = {
  /** Monotonic, ms. */
  readonly at: number;
  /** What ssh has written, to whomever. */
  readonly writtenBytes: number;
  /** What of that the peer's TCP has not acknowledged. */
  readonly unackedBytes: number;
  /** How long TCP waits for an acknowledgement on this path before it sends again, ms; not doubled by failures. */
  readonly rtoMs: number;
};

export type Traffic = {
  /** The most bytes that are known to have been acknowledged, or received and passed on. */
  readonly moved: number;
  /** When they last became more; -Infinity: not since the first look. */
  readonly movedAt: number;
  readonly rtoMs: number;
};

/**
 * `writtenBytes - unackedBytes` grows only by what the peer's side has done: bytes to the network count on both sides until they are
 * acknowledged, bytes to an app were received before. An app that keeps sending into a dead path does not move it.
 */
export const observeTraffic = (before: Traffic | null, glance: Glance): Traffic => {
  const moved = glance.writtenBytes - glance.unackedBytes;
  if (before === null) return { moved, movedAt: Number.NEGATIVE_INFINITY, rtoMs: glance.rtoMs };
  return moved > before.moved ? { moved, movedAt: glance.at, rtoMs: glance.rtoMs } : { ...before, rtoMs: glance.rtoMs };
};

/** Shorter than this nothing is still: a lost packet or two. */
const LEAST_STILL_MS = 2_000;
/** Longer than this nothing flows, whatever TCP hopes for. */
const MOST_STILL_MS = 20_000;
/** A packet lost twice, or one behind a queue that is still growing. */
const RTOS = 2;

/** Whether bytes moved lately, measured by the path's own slowness. */
export const isFlowing = (traffic: Traffic, at: number): boolean =>
  at - traffic.movedAt <= Math.min(MOST_STILL_MS, Math.max(LEAST_STILL_MS, RTOS * traffic.rtoMs));
