import { mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claim, removeLeftovers } from './leftovers.ts';
import { ensureOwnDirectory } from './own-directory.ts';

/** A fresh directory, mode 0700. */
export type MemoryDirectory = {
  readonly path: string;
  /** False where the machine offers nothing in memory (macOS). */
  readonly inMemory: boolean;
  /** How many of an earlier supervisor of the tunnel were still there; they are removed. */
  readonly leftovers: number;
  /** Makes it anew, empty, where somebody has taken it away (own-directory.ts). */
  readonly renew: () => void;
};

/** What statfs(2) calls a file system that is memory: tmpfs and ramfs. */
const IN_MEMORY = [0x01021994, 0x858458f6];

/**
 * Makes a private directory for keys: in memory, so that they never reach a disk. In a pod TMPDIR is such a volume, of this container
 * alone; elsewhere the session's own directory or /dev/shm. What a killed supervisor of the same tunnel left there goes first. Throws where
 * nothing at all can be written.
 */
export const makeMemoryDirectory = (prefix: string, tunnel: string): MemoryDirectory => {
  const bases = [process.env['TMPDIR'], process.env['XDG_RUNTIME_DIR'], '/dev/shm'].filter(
    (base) => base !== undefined,
  );
  const memory = bases.filter(isInMemory);
  const leftovers = [...new Set([...memory, tmpdir()])]
    .map((base) => removeLeftovers(base, prefix, tunnel, !isAlone(base)))
    .reduce((sum, count) => sum + count, 0);
  const make = (base: string): Pick<MemoryDirectory, 'path' | 'renew'> => {
    const path = mkdtempSync(join(base, prefix));
    claim(path, tunnel);
    const renew = () => {
      if (ensureOwnDirectory(path)) claim(path, tunnel);
    };
    return { path, renew };
  };
  for (const base of memory) {
    try {
      return { ...make(base), inMemory: true, leftovers };
    } catch {
      // Not ours to write to: the next one.
    }
  }
  return { ...make(tmpdir()), inMemory: false, leftovers };
};

/** The volume of a container; whoever is found there was in this container before its restart. */
const isAlone = (base: string): boolean => base === process.env['TMPDIR'] && base !== '/dev/shm' && isInMemory(base);

const isInMemory = (dir: string): boolean => {
  try {
    return IN_MEMORY.includes(statfsSync(dir).type);
  } catch {
    return false;
  }
};
