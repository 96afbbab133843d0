import type { DocumentForward } from '../api/document.ts';
import type { Reason } from '../api/reasons.ts';
import { type ForwardKey, type ForwardStep, forwardKey, forwardPlan } from './forward-plan.ts';

/** Why a forward is not in place, and when it is tried again; times are monotonic milliseconds. */
export type Refusal = {
  readonly forward: DocumentForward;
  readonly reason: Reason;
  readonly detail: string;
  readonly retryAt: number;
  /** ssh gave no answer: it may be half in place, and is cancelled before it is asked for again. */
  readonly unsure: boolean;
};

/** What is known of the forwards of one tunnel, over all its connections. */
export type ForwardPlaces = {
  /** On the living connection, from its command line or added since. */
  readonly present: readonly DocumentForward[];
  readonly refused: ReadonlyMap<ForwardKey, Refusal>;
  /** Those that bytes could go through at some time: a refusal of one of these means that its port is still held. */
  readonly worked: ReadonlySet<ForwardKey>;
};

export const noForwards: ForwardPlaces = { present: [], refused: new Map(), worked: new Set() };

/** Of one forward: in place, refused with a reason, or neither, since nobody has tried yet. */
export type InPlace =
  | { readonly ok: true }
  | { readonly ok: false; readonly reason: Reason | null; readonly detail: string };

export const inPlace = ({ present, refused }: ForwardPlaces, forward: DocumentForward): InPlace => {
  const key = forwardKey(forward);
  const refusal = refused.get(key);
  if (refusal !== undefined) return { ok: false, reason: refusal.reason, detail: refusal.detail };
  if (present.some((one) => forwardKey(one) === key)) return { ok: true };
  return { ok: false, reason: null, detail: 'not added yet' };
};

/**
 * Which forwards the next ssh starts with; the others are added once it lives. One that was refused would end it again. ssh ends at
 * the first refused remote forward without a word of the next: while one is refused, none is on the command line.
 */
export const onCommandLine = (
  { refused }: ForwardPlaces,
  wanted: readonly DocumentForward[],
): readonly DocumentForward[] => {
  const noRemote = wanted.some((forward) => forward.kind === 'remote' && refused.has(forwardKey(forward)));
  return wanted.filter((forward) => !refused.has(forwardKey(forward)) && !(noRemote && forward.kind === 'remote'));
};

/** A new connection, or the end of one: what was added to the last is gone with it. */
export const startedWith = (places: ForwardPlaces, present: readonly DocumentForward[]): ForwardPlaces => ({
  ...places,
  present,
  refused: new Map([...places.refused].map(([key, refusal]) => [key, { ...refusal, unsure: false }])),
});

/** Bytes go round: ssh would have ended, had one of its command line not been in place. */
export const proven = (places: ForwardPlaces): ForwardPlaces => ({
  ...places,
  worked: new Set([...places.worked, ...places.present.map(forwardKey)]),
});

export const refuse = (
  places: ForwardPlaces,
  forward: DocumentForward,
  refusal: Omit<Refusal, 'forward'>,
): ForwardPlaces => ({
  ...places,
  refused: new Map([...places.refused, [forwardKey(forward), { forward, ...refusal }]]),
});

/** After a step that did not work; `answered`: ssh said no, rather than nothing. */
export const failed = (
  places: ForwardPlaces,
  step: ForwardStep,
  why: Omit<Refusal, 'forward' | 'unsure'>,
  answered: boolean,
): ForwardPlaces => {
  const wasUnsure = places.refused.get(forwardKey(step.forward))?.unsure ?? false;
  return refuse(places, step.forward, { ...why, unsure: step.do === 'add' ? !answered : wasUnsure });
};

/** After a step that worked. */
export const done = (places: ForwardPlaces, step: ForwardStep): ForwardPlaces => {
  const key = forwardKey(step.forward);
  const others = places.present.filter((one) => forwardKey(one) !== key);
  const refused = new Map(places.refused);
  const refusal = refused.get(key);
  if (step.do === 'cancel') {
    // A half-added one is now certainly gone, but no less refused.
    if (refusal !== undefined) refused.set(key, { ...refusal, unsure: false });
    return { ...places, present: others, refused };
  }
  refused.delete(key);
  return { present: [...others, step.forward], refused, worked: new Set([...places.worked, key]) };
};

/** Forgets what a change of the wanted forwards has settled; `now` asks for the refused ones at once. */
export const follow = (
  places: ForwardPlaces,
  wanted: readonly DocumentForward[],
  options: { now?: boolean } = {},
): ForwardPlaces => {
  const keys = new Set(wanted.map(forwardKey));
  const present = new Set(places.present.map(forwardKey));
  return {
    present: places.present,
    refused: new Map(
      [...places.refused]
        // What is still to be added, or still to be cancelled.
        .filter(([key, { unsure }]) => unsure || keys.has(key) !== present.has(key))
        .map(([key, refusal]) => [key, options.now ? { ...refusal, retryAt: Number.NEGATIVE_INFINITY } : refusal]),
    ),
    worked: new Set([...places.worked].filter((key) => keys.has(key))),
  };
};

/** The next thing to do on the living connection, or null. */
export const nextStep = (places: ForwardPlaces, wanted: readonly DocumentForward[], at: number): ForwardStep | null => {
  const isDue = (forward: DocumentForward) => (places.refused.get(forwardKey(forward))?.retryAt ?? at) <= at;
  const unsure = [...places.refused.values()].find(({ unsure, retryAt }) => unsure && retryAt <= at);
  if (unsure !== undefined) return { do: 'cancel', forward: unsure.forward };
  return forwardPlan(places.present, wanted).find(({ forward }) => isDue(forward)) ?? null;
};

/** When something is to be tried again; null: nothing is. */
export const nextRetryAt = ({ refused }: ForwardPlaces): number | null =>
  refused.size === 0 ? null : Math.min(...[...refused.values()].map(({ retryAt }) => retryAt));
