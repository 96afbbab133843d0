import { type FSWatcher, watch } from 'node:fs';

/**
 * Calls `onEvent` when something in a directory changes. Null where that cannot be watched: the directory is not there, or inotify is
 * used up (inotify_init(2) allows 128 instances for a user by default, and all sidecars of a node are one user). A watch can end or lose
 * an event at any time: whoever needs to know looks from time to time as well.
 */
export const watchDirectory = (dir: string, onEvent: () => void): FSWatcher | null => {
  try {
    const watcher = watch(dir, onEvent);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return null;
  }
};
