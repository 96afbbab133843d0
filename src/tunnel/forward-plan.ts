import type { DocumentForward } from '../api/document.ts';
import { forwardArgs } from './ssh-args.ts';

/** A forward as ssh sees it: its listener and where it leads. Names, probes and the order of the list are ours alone. */
export type ForwardKey = string;

export const forwardKey = (forward: DocumentForward): ForwardKey => forwardArgs(forward).join(' ');

/** One command over the control socket; one forward each, since ssh does not undo the first of two when the second fails. */
export type ForwardStep = { readonly do: 'cancel' | 'add'; readonly forward: DocumentForward };

/**
 * What turns the forwards of a living connection into the wanted ones. All cancels come first: an added forward may listen where a
 * removed one did. What is only renamed, probed otherwise or moved in the list costs nothing.
 */
export const forwardPlan = (
  present: readonly DocumentForward[],
  wanted: readonly DocumentForward[],
): readonly ForwardStep[] => {
  const there = byKey(present);
  const here = byKey(wanted);
  return [
    ...[...there].filter(([key]) => !here.has(key)).map(([, forward]) => ({ do: 'cancel' as const, forward })),
    ...[...here].filter(([key]) => !there.has(key)).map(([, forward]) => ({ do: 'add' as const, forward })),
  ];
};

const byKey = (forwards: readonly DocumentForward[]): Map<ForwardKey, DocumentForward> =>
  new Map(forwards.map((forward) => [forwardKey(forward), forward]));
