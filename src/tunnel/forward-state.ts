import type { DocumentForward, TunnelDocument } from '../api/document.ts';
import type { ForwardReason, Reason } from '../api/reasons.ts';
import type { InPlace } from './forwards-in-place.ts';

/** The outcome of one look at what a forward leads to. */
export type ProbeResult =
  | { readonly ok: true; readonly tookMs: number }
  | { readonly ok: false; readonly reason: ForwardReason; readonly detail: string };

/** One forward as metrics and status show it. */
export type ForwardState = {
  readonly name: string;
  /** In place, and its last probe, if it has one, was answered. */
  readonly up: boolean;
  /** Why it is not up; null: it is. */
  readonly reason: ForwardReason | null;
  /** The last probe's outcome; null: none yet, or none is asked for. */
  readonly probe: ProbeResult | null;
};

/** What is known of a tunnel's forwards at one moment. */
export type ForwardFacts = {
  /** ssh is logged in and the server answers. */
  readonly sessionUp: boolean;
  /** Why it is not; null while nobody knows yet. */
  readonly reason: Reason | null;
  /** Forwards that the living connection does not have, and why; null: nobody has tried yet. */
  readonly missing: ReadonlyMap<string, Reason | null>;
  /** Last outcomes by name of the forward. */
  readonly probes: ReadonlyMap<string, ProbeResult>;
};

/**
 * Every forward, up or down, in the order of the document. A forward that was not probed yet counts by being in place; an outcome
 * stays until the next one, over a reconnect too, since that says nothing of the target.
 */
export const forwardStates = (forwards: readonly DocumentForward[], facts: ForwardFacts): ForwardState[] =>
  forwards.map(({ name }) => {
    const probe = facts.probes.get(name) ?? null;
    const missing = facts.missing.get(name);
    if (!facts.sessionUp) return { name, up: false, reason: facts.reason, probe };
    if (missing !== undefined) return { name, up: false, reason: missing, probe };
    if (probe !== null && !probe.ok) return { name, up: false, reason: probe.reason, probe };
    return { name, up: true, reason: null, probe };
  });

/** The forwards that are not in place, and why. With method Forward the heartbeat is a proof of its forward too. */
export const missingForwards = (
  { forwards, heartbeat: { method, forward } }: Pick<TunnelDocument, 'forwards' | 'heartbeat'>,
  state: { readonly sessionUp: boolean; readonly connected: boolean; readonly reason: Reason | null },
  inPlace: (forward: DocumentForward) => InPlace,
): ReadonlyMap<string, Reason | null> => {
  const places = forwards.map((one) => [one.name, inPlace(one)] as const);
  const missing = new Map(places.flatMap(([name, place]) => (place.ok ? [] : [[name, place.reason]])));
  if (state.sessionUp && !state.connected && method === 'Forward' && forward !== undefined)
    missing.set(forward, state.reason);
  return missing;
};

/** How far a period is stretched or shortened, so that the probes of many pods do not meet. */
const JITTER = 0.1;
/** The first probe of a forward comes soon, and not in the same moment as all others. */
const FIRST_WITHIN_MS = 1_000;

/** The pause, ms, before the first probe of a forward. `random` is of [0, 1). */
export const firstProbeIn = (periodMs: number, random: number): number => Math.min(periodMs, FIRST_WITHIN_MS) * random;

/** The pause, ms, after a probe that took `tookMs`: periods are counted from start to start, but one probe ends before the next. */
export const nextProbeIn = (periodMs: number, tookMs: number, random: number): number =>
  Math.max(0, periodMs * (1 + JITTER * (2 * random - 1)) - tookMs);
