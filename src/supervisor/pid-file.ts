import { rmSync, writeFileSync } from 'node:fs';

/** Writes our pid and a newline, as autossh 1.4g does. Throws the system's error where the file cannot be written. */
export const writePidFile = (path: string): { remove: () => void } => {
  writeFileSync(path, `${process.pid}\n`);
  return {
    remove: () => {
      try {
        rmSync(path, { force: true });
      } catch {
        // A directory that became read-only meanwhile: the file stays, and the exit code is not for it.
      }
    },
  };
};
