import { lstatSync, mkdirSync } from 'node:fs';

/**
 * Makes a private directory anew, empty, where somebody has taken it away: a cleaner of temporary files, or systemd-logind (RemoveIPC) at
 * a logout. True: it had to. Throws where something else is in its place: its name is no secret, and everybody may write to /dev/shm.
 */
export const ensureOwnDirectory = (path: string): boolean => {
  const isGone = lstatSync(path, { throwIfNoEntry: false }) === undefined;
  if (isGone) mkdirSync(path, { mode: 0o700 });
  const found = lstatSync(path);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0)
    throw new Error(`expected ${path} to be a directory of this user alone, as it was made; got something else`);
  return isGone;
};
