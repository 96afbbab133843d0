import { accessSync, constants } from 'node:fs';

/**
 * Where a child of ours works: where we were started, or `/` once that directory is gone. A tunnel outlives many a directory, and
 * execa starts nothing in one that is not there.
 */
export const workingDirectory = (): string => {
  try {
    // Node remembers it from the first time on, whatever has become of it.
    const here = process.cwd();
    accessSync(here, constants.X_OK);
    return here;
  } catch {
    return '/';
  }
};
