import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { TunnelDocument } from '../api/document.ts';
import { decodeBackoff, encodeBackoff, MOST_SAVED_BYTES, type SavedBackoff } from '../tunnel/saved-backoff.ts';

export type BackoffFile = {
  /** What an earlier supervisor left for this very connection, if anything. */
  readonly load: (document: TunnelDocument) => SavedBackoff | null;
  readonly save: (document: TunnelDocument, backoff: Omit<SavedBackoff, 'about' | 'savedAt'>) => void;
  readonly clear: () => void;
};

/**
 * The pause between two starts of ssh, kept in a directory that a restart of the container leaves alone, so that a supervisor which is
 * killed again and again does not hammer the server. Without a directory, or where it cannot be written, nothing is remembered: that
 * must never be what stops a tunnel.
 */
export const backoffFile = (dir: string | null, loginDirectories: () => readonly string[]): BackoffFile => {
  if (dir === null) return { load: () => null, save: () => {}, clear: () => {} };
  const path = join(dir, 'backoff.json');
  const about = (document: TunnelDocument) => digest(document, loginDirectories());
  const quietly = (act: () => void) => {
    try {
      act();
    } catch {
      // See above.
    }
  };
  const clear = () => quietly(() => rmSync(path, { force: true }));
  return {
    load: (document) => {
      const text = read(path);
      if (text === null) return null;
      const { authMaxSeconds } = document.retry;
      return decodeBackoff(text, { about: about(document), unixMs: Date.now(), authMaxSeconds });
    },
    save: (document, backoff) =>
      quietly(() => {
        const next = `${path}.next`;
        rmSync(next, { force: true });
        const text = encodeBackoff({ about: about(document), savedAt: Date.now(), ...backoff });
        writeFileSync(next, text, { mode: 0o600, flag: 'wx' });
        renameSync(next, path);
      }),
    clear,
  };
};

/**
 * Stands for everything a new attempt would be made with. Of keys it has the times and sizes alone, not their content; a volume's
 * update makes new files, a restart of the container does not.
 */
const digest = ({ ssh, jumpHosts, identities, knownHosts, retryToken }: TunnelDocument, dirs: readonly string[]) =>
  createHash('sha256')
    .update(JSON.stringify([ssh, jumpHosts, identities, knownHosts, retryToken, dirs.flatMap(filesIn)]))
    .digest('hex');

const filesIn = (dir: string): string[] => {
  try {
    return readdirSync(dir)
      .filter((name) => !name.startsWith('.'))
      .sort()
      .map((name) => {
        const { size, mtimeMs, ino } = statSync(join(dir, name));
        return `${dir}/${name} ${size} ${mtimeMs} ${ino}`;
      });
  } catch {
    return [];
  }
};

/** Never more than what one of ours can be, and never through a link. */
const read = (path: string): string | null => {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.alloc(MOST_SAVED_BYTES + 1);
      return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(fd);
    }
  } catch {
    return null;
  }
};
