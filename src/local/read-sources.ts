import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../supervisor/system-error.ts';
import type { Source } from './documents.ts';
import type { Streams } from './read-streams.ts';
import { shownFile, type Violation } from './violation.ts';

/** What `-f` stands for when it is read from standard input. */
export const STDIN = '-';

/** A manifest is at most some hundred KiB; what is much larger was given by mistake. */
export const MOST_BYTES = 16 * 1024 * 1024;

/**
 * Reads the files of `-f`: files, directories (their .yaml, .yml and .json, not those further below, as kubectl does), and what was
 * read before as `streams`.
 */
export const readSources = (
  paths: readonly string[],
  streams: Streams,
): { readonly sources: readonly Source[]; readonly violations: readonly Violation[] } => {
  const sources: Source[] = [];
  const violations: Violation[] = [];
  for (const path of paths) {
    const stream = streams.get(path);
    if (stream !== undefined) {
      const file = path === STDIN ? 'stdin' : path;
      if (stream.length > MOST_BYTES) violations.push(unread(file, 'more'));
      else sources.push({ file, text: Buffer.from(stream).toString('utf8') });
      continue;
    }
    try {
      for (const file of filesOf(path)) {
        const found = statSync(file);
        if (!found.isFile()) violations.push(unread(file, 'something else'));
        else if (found.size > MOST_BYTES) violations.push(unread(file, `${found.size} bytes`));
        else sources.push({ file, text: readFileSync(file, 'utf8') });
      }
    } catch (error) {
      violations.push(unread(path, errorText(error)));
    }
  }
  return { sources, violations };
};

const filesOf = (path: string): string[] => {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => /\.(?:ya?ml|json)$/.test(name));
  return names.sort().map((name) => join(path, name));
};

const unread = (file: string, got: string): Violation => ({
  file: shownFile(file),
  problem: 'Unreadable',
  expected: 'a readable file or directory of manifests, of at most 16 MiB a file',
  got,
});
