import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../supervisor/system-error.ts';
import type { Source } from './documents.ts';
import type { Violation } from './violation.ts';

/** What `-f` stands for when it is read from standard input. */
export const STDIN = '-';

/** A manifest is at most some hundred KiB; what is much larger was given by mistake. */
const MOST_BYTES = 16 * 1024 * 1024;

/**
 * Reads the files of `-f`: files, directories (their .yaml, .yml and .json, not those further below, as kubectl does), and `-`, which
 * is standard input, read before as `stdin`.
 */
export const readSources = (
  paths: readonly string[],
  stdin: string,
): { readonly sources: readonly Source[]; readonly violations: readonly Violation[] } => {
  const sources: Source[] = [];
  const violations: Violation[] = [];
  for (const path of paths) {
    if (path === STDIN) {
      sources.push({ file: 'stdin', text: stdin });
      continue;
    }
    try {
      for (const file of filesOf(path)) {
        if (statSync(file).size > MOST_BYTES) violations.push(unread(file, `${statSync(file).size} bytes`));
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
  file,
  problem: 'Unreadable',
  expected: 'a readable file or directory of manifests, of at most 16 MiB a file',
  got,
});
