import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Endpoint } from '../api/document.ts';

/**
 * Whether a process listens at a port (at whichever of its addresses) or on a unix socket, as the kernel has it; null where that cannot
 * be told (no /proc, or not ours to look into). Nothing is connected to: behind the listener there is somebody else's service.
 */
export const listensOn = (pid: number, at: Endpoint, proc = '/proc'): boolean | null => {
  try {
    const inodes = 'path' in at ? unixListeners(proc, at.path) : tcpListeners(proc, at.port);
    return inodes.size > 0 && socketsOf(proc, pid).some((inode) => inodes.has(inode));
  } catch {
    return null;
  }
};

const rows = (file: string): string[][] =>
  readFileSync(file, 'latin1')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));

const LISTEN = '0A';

const tcpListeners = (proc: string, port: number): Set<string> => {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes = new Set<string>();
  for (const file of ['net/tcp', 'net/tcp6'])
    for (const [, local = '', , state, , , , , , inode = ''] of existing(join(proc, file)))
      if (state === LISTEN && local.endsWith(suffix)) inodes.add(inode);
  return inodes;
};

/** Without IPv6 there is no tcp6. */
const existing = (file: string): string[][] => {
  try {
    return rows(file);
  } catch (error) {
    if (file.endsWith('6')) return [];
    throw error;
  }
};

/** __SO_ACCEPTCON: it listens. */
const ACCEPTS = 0x10000;

const unixListeners = (proc: string, path: string): Set<string> =>
  new Set(
    rows(join(proc, 'net/unix'))
      .filter(([, , , flags = '0', , , , name]) => name === path && (Number.parseInt(flags, 16) & ACCEPTS) !== 0)
      .map(([, , , , , , inode = '']) => inode),
  );

const socketsOf = (proc: string, pid: number): string[] => {
  const dir = join(proc, String(pid), 'fd');
  return readdirSync(dir).flatMap((fd) => {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(join(dir, fd)))?.[1];
      return inode === undefined ? [] : [inode];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
};
