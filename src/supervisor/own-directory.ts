import { lstatSync, mkdirSync } from 'node:fs';

/** Something of somebody else's is where a private directory was. */
export class NotOwnError extends Error {}

/**
 * Makes a private directory anew, empty, where somebody has taken it away: a cleaner of temporary files, or systemd-logind (RemoveIPC) at
 * a logout. True: it had to. Throws the system's error where it cannot be made, and a NotOwnError where something else is in its place:
 * its name is no secret, and everybody may write to /dev/shm.
 */
export const ensureOwnDirectory = (path: string): boolean => {
  const isGone = lstatSync(path, { throwIfNoEntry: false }) === undefined;
  if (isGone) mkdirSync(path, { mode: 0o700 });
  if (!isOwnDirectory(path))
    throw new NotOwnError(`expected ${path} to be a directory of this user alone, as it was made; got something else`);
  return isGone;
};

/** Whether it is there, and nobody else may write to it. */
export const isOwnDirectory = (path: string): boolean => {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o077) === 0;
};
