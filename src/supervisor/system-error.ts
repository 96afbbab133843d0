import { getSystemErrorMap } from 'node:util';

/** C's words for the errors that people of the classic tools know by them; libuv has its own for some. */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EADDRINUSE: 'Address already in use',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: 'Connection reset by peer',
  EISDIR: 'Is a directory',
  ENOENT: 'No such file or directory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  EPIPE: 'Broken pipe',
  EROFS: 'Read-only file system',
};

/** An error as strerror(3) would put it, without the path and call that Node writes around it. */
export const errorText = (problem: unknown): string => {
  const { code, errno, message } = problem as NodeJS.ErrnoException;
  if (code !== undefined && WORDS[code] !== undefined) return WORDS[code];
  const known = errno === undefined ? undefined : getSystemErrorMap().get(errno);
  return known?.[1] ?? message ?? String(problem);
};
