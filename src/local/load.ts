import { readGiven } from './given.ts';
import { type Judged, judge, type Purpose } from './judge.ts';
import type { Given } from './local-tunnel.ts';
import { readSources } from './read-sources.ts';
import type { Streams } from './read-streams.ts';
import type { Violation } from './violation.ts';

/** What the commands take of files. */
export type Inputs = {
  /** Files, directories, or `-`. */
  readonly files: readonly string[];
  readonly identity?: string | undefined;
  readonly knownHosts?: string | undefined;
};

export type Loaded = Judged & { readonly given: Given };

/** Reads and judges everything that was named. `streams`: what can be read only once, and was. */
export const load = ({ files, identity, knownHosts }: Inputs, streams: Streams, purpose: Purpose): Loaded => {
  const { sources, violations: unread } = readSources(files, streams);
  const { given, violations: notGiven } = readGiven(identity, knownHosts, streams);
  const judged = judge(sources, given, purpose);
  // Where files could not be read, what is missing in the others says nothing.
  const missing = unread.length > 0 && sources.length === 0 ? [] : judged.violations;
  const violations: readonly Violation[] = [...unread, ...notGiven, ...missing];
  return { ...judged, violations, given };
};
