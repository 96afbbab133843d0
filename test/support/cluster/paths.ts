import { lstatSync, mkdirSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/** Built binaries and images: outside the checkout, so that a fresh clone and a second worktree find them. */
export function cacheDir(...segments: string[]): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(base, 'autossh-operator', ...segments);
}

/**
 * Where runs live. One folder per user that only this user enters: runs hold private keys.
 * Short, because Unix socket paths below it may have 107 characters at most.
 */
export function runsDir(): string {
  const dir = join(tmpdir(), `autossh-operator-${userInfo().uid}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const found = lstatSync(dir);
  // Anyone may create names in /tmp: a folder prepared by someone else would hand them our keys.
  if (!found.isDirectory() || found.uid !== userInfo().uid || (found.mode & 0o077) !== 0) {
    throw new Error(
      `expected ${dir} to be a folder of uid ${userInfo().uid} with mode 0700; got uid ${found.uid}, mode ${(found.mode & 0o777).toString(8)}: remove it, or set TMPDIR to a folder of your own`,
    );
  }
  return dir;
}

/** Go's names of this machine: binaries are cached per platform, since a home folder may be shared between machines. */
export const platform = `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
