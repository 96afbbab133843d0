import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorText } from '../supervisor/system-error.ts';
import type { Given } from './local-tunnel.ts';
import type { Violation } from './violation.ts';

/** The files of `--identity` and `--known-hosts`, and what cannot be read of them. */
export const readGiven = (
  identity: string | undefined,
  knownHosts: string | undefined,
): { readonly given: Given; readonly violations: readonly Violation[] } => {
  const violations: Violation[] = [];
  const read = (path: string | undefined, expected: string): Uint8Array | undefined => {
    if (path === undefined) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      violations.push({ file: path, problem: 'Unreadable', expected, got: errorText(error) });
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

const readIfThere = (path: string): Uint8Array | undefined => {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
};
