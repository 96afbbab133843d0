import { mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A fresh directory, mode 0700. */
export type MemoryDirectory = {
  readonly path: string;
  /** False where the machine offers nothing in memory (macOS). */
  readonly inMemory: boolean;
};

/** What statfs(2) calls a file system that is memory: tmpfs and ramfs. */
const IN_MEMORY = [0x01021994, 0x858458f6];

/**
 * Makes a private directory for keys: in memory, so that they never reach a disk. In a pod TMPDIR is such a volume, of this container
 * alone; elsewhere the session's own directory or /dev/shm. Throws where nothing at all can be written.
 */
export const makeMemoryDirectory = (prefix: string): MemoryDirectory => {
  const bases = [process.env['TMPDIR'], process.env['XDG_RUNTIME_DIR'], '/dev/shm'].filter(
    (base) => base !== undefined,
  );
  for (const base of bases.filter(isInMemory)) {
    try {
      return { path: mkdtempSync(join(base, prefix)), inMemory: true };
    } catch {
      // Not ours to write to: the next one.
    }
  }
  return { path: mkdtempSync(join(tmpdir(), prefix)), inMemory: false };
};

const isInMemory = (dir: string): boolean => {
  try {
    return IN_MEMORY.includes(statfsSync(dir).type);
  } catch {
    return false;
  }
};
