import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { watchDirectory } from './watch-directory.ts';

/** How late a change is seen at most: a watch can lose one (a volume that is mounted anew, a machine without inotify to spare). */
const EVERY_MS = 1_000;
/** A change is often several: they are looked at together. */
const SETTLE_MS = 20;

/**
 * What all files of some directories hold, as one hash: there are keys and passphrases among them, of which nothing is to be remembered.
 * A file that cannot be read is as if it were not there: a volume that loses files is swapped first, and for a moment after that their
 * names lead nowhere.
 */
const contentOf = (directories: readonly string[]): string => {
  const hash = createHash('sha256');
  for (const path of directories.flatMap((dir) => names(dir).map((name) => join(dir, name)))) {
    const content = bytes(path);
    if (content === null) continue;
    hash.update(`${path}\0${content.length}\0`).update(content);
    content.fill(0);
  }
  return hash.digest('hex');
};

/** Calls `onChange` when the content of the directories is another than before. The list is asked for each time. */
export const watchFiles = (directories: () => readonly string[], onChange: () => void): { stop: () => void } => {
  let last = contentOf(directories());
  let soon: NodeJS.Timeout | undefined;
  const look = () => {
    const now = contentOf(directories());
    if (now === last) return;
    last = now;
    onChange();
  };
  const lookSoon = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      look();
    }, SETTLE_MS);
  };
  // The directory, not its files: that sees the swap of a volume's `..data` as well as a file that is replaced.
  const watchers = directories().map((dir) => watchDirectory(dir, lookSoon));
  const timer = setInterval(look, EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      clearTimeout(soon);
      for (const watcher of watchers) watcher?.close();
    },
  };
};

/** A mounted volume shows its keys as names without a leading dot; the rest is the machinery of its updates. */
const names = (dir: string): string[] => {
  try {
    return readdirSync(dir)
      .filter((name) => !name.startsWith('.'))
      .sort();
  } catch {
    return [];
  }
};

const bytes = (path: string): Buffer | null => {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
};
