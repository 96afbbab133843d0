import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** How soon a change is seen. Reading a few small files costs less than an inotify watch that a volume's symlink swap can lose. */
const EVERY_MS = 1_000;

/** What all files of some directories hold, in one text; a file that cannot be read is as if it were not there. */
const contentOf = (directories: readonly string[]): string =>
  directories
    .flatMap((dir) => names(dir).map((name) => join(dir, name)))
    .map((path) => `${path}\0${text(path)}`)
    .join('\0');

/** Calls `onChange` when the content of the directories is another than before. The list is asked for each time. */
export const watchFiles = (directories: () => readonly string[], onChange: () => void): { stop: () => void } => {
  let last = contentOf(directories());
  const timer = setInterval(() => {
    const now = contentOf(directories());
    if (now === last) return;
    last = now;
    onChange();
  }, EVERY_MS);
  return { stop: () => clearInterval(timer) };
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

const text = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};
