import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { endianness } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '../api/document.ts';

/**
 * Whether a process listens at an address or on a unix socket, as the kernel has it; null where that cannot be told (no /proc, or not
 * ours to look into; a host that is a name or of IPv6). Nothing is connected to: behind the listener is somebody else's service.
 */
export const listensOn = (pid: number, at: Endpoint, proc = '/proc'): boolean | null => {
  try {
    const inodes = 'path' in at ? unixListeners(proc, at.path) : tcpListeners(proc, at.host, at.port);
    return inodes === null ? null : inodes.size > 0 && socketsOf(proc, pid).some((inode) => inodes.has(inode));
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

const tcpListeners = (proc: string, host: string, port: number): Set<string> | null => {
  const address = host === '*' ? '0.0.0.0' : host;
  if (!isIPv4(address)) return null;
  const local = `${hex(address)}:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return new Set(
    rows(join(proc, 'net/tcp'))
      .filter(([, at, , state]) => at === local && state === LISTEN)
      .map(([, , , , , , , , , inode = '']) => inode),
  );
};

/** The kernel prints an address as the number that it is in memory. */
const hex = (address: string): string => {
  const bytes = Buffer.from(address.split('.').map(Number));
  return (endianness() === 'LE' ? bytes.reverse() : bytes).toString('hex').toUpperCase();
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
