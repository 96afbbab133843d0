import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * Where execvp(3) would find a program: as it stands if its name has a slash, else along PATH. Null if there is none that may be
 * executed.
 */
export const findProgram = (name: string, path = process.env['PATH'] ?? '/usr/bin:/bin'): string | null => {
  const candidates = name.includes('/') ? [name] : path.split(delimiter).map((dir) => join(dir || '.', name));
  return candidates.find(isExecutable) ?? null;
};

/** The system's words for why a program cannot be run. */
export const whyNotRun = (name: string): string => {
  try {
    statSync(name);
    return 'Permission denied';
  } catch {
    return 'No such file or directory';
  }
};

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
};
