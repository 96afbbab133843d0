import { readGiven } from './given.ts';
import { type Judged, judge, type Purpose } from './judge.ts';
import type { Given } from './local-tunnel.ts';
import { readSources, STDIN } from './read-sources.ts';
import type { Violation } from './violation.ts';

/** What the commands take of files. */
export type Inputs = {
  /** Files, directories, or `-`. */
  readonly files: readonly string[];
  readonly identity?: string | undefined;
  readonly knownHosts?: string | undefined;
};

export type Loaded = Judged & { readonly given: Given };

/** Reads and judges everything that was named. `stdin`: what came there, if it was asked for. */
export const load = ({ files, identity, knownHosts }: Inputs, stdin: string, purpose: Purpose): Loaded => {
  const { sources, violations: unread } = readSources(files, stdin);
  const { given, violations: notGiven } = readGiven(identity, knownHosts);
  const judged = judge(sources, given, purpose);
  // Where files could not be read, what is missing in the others says nothing.
  const missing = unread.length > 0 && sources.length === 0 ? [] : judged.violations;
  const violations: readonly Violation[] = [...unread, ...notGiven, ...missing];
  return { ...judged, violations, given };
};

/** Standard input as a text, if one of the files is `-`. */
export const readStdin = async (files: readonly string[]): Promise<string> => {
  if (!files.includes(STDIN)) return '';
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString('utf8');
};
