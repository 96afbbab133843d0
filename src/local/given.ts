import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorText } from '../supervisor/system-error.ts';
import type { Given } from './local-tunnel.ts';
import type { Streams } from './read-streams.ts';
import { shownFile, type Violation } from './violation.ts';

/** The files of `--identity` and `--known-hosts`, and what cannot be read of them. */
export const readGiven = (
  identity: string | undefined,
  knownHosts: string | undefined,
  streams: Streams,
): { readonly given: Given; readonly violations: readonly Violation[] } => {
  const violations: Violation[] = [];
  const read = (path: string | undefined, expected: string): Uint8Array | undefined => {
    if (path === undefined) return undefined;
    try {
      return streams.get(path) ?? readPlain(path);
    } catch (error) {
      violations.push({ file: shownFile(path), problem: 'Unreadable', expected, got: errorText(error) });
      return undefined;
    }
  };
  const key = read(identity, 'a readable file with a private key');
  const lines = read(knownHosts, 'a readable known_hosts file');
  const certificate = identity === undefined ? undefined : readIfThere(`${identity}-cert.pub`);
  return {
    given: {
      ...(key === undefined || identity === undefined
        ? {}
        : { identity: { path: resolve(identity), key, ...(certificate === undefined ? {} : { certificate }) } }),
      ...(lines === undefined || knownHosts === undefined ? {} : { knownHosts: { path: resolve(knownHosts), lines } }),
    },
    violations,
  };
};

/** No pipe: to wait for one that nobody writes to would stop everything else. */
const readPlain = (path: string): Uint8Array => {
  const found = statSync(path);
  if (found.isFile() || found.isDirectory()) return readFileSync(path);
  throw new Error('something that is no file');
};

const readIfThere = (path: string): Uint8Array | undefined => {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
};
