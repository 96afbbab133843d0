import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Glance } from '../tunnel/traffic.ts';

/**
 * Looks at the connection of a running ssh by what Linux tells of it in /proc; null where there is nothing to see (another system, no
 * rights, no connection yet). With jump hosts the connection is that of the innermost ssh.
 */
export const glanceAt = (ssh: number): Glance | null => {
  try {
    const pid = innermost(ssh);
    const inode = serverSocket(pid);
    if (inode === null) return null;
    // In this order: what is written between the two reads makes the difference smaller, never larger.
    const writtenBytes = Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1]);
    const entry = tcpEntry(pid, inode);
    return entry === null || Number.isNaN(writtenBytes) ? null : { at: performance.now(), writtenBytes, ...entry };
  } catch {
    return null;
  }
};

const innermost = (pid: number): number => {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean);
  return child === undefined ? pid : innermost(Number(child));
};

const ESTABLISHED = '01';
/** USER_HZ, in which /proc tells times: 100 on all architectures that Node runs on. */
const MS_PER_TICK = 10;

/** The inode of the first TCP socket that ssh opened: the one to the server. Those of forwards came later. */
const serverSocket = (pid: number): string | null => {
  const tables = tcpTables(pid);
  for (const fd of readdirSync(`/proc/${pid}/fd`).sort((a, b) => Number(a) - Number(b))) {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
    if (inode !== undefined && entryOf(tables, inode) !== null) return inode;
  }
  return null;
};

const tcpEntry = (pid: number, inode: string) => entryOf(tcpTables(pid), inode);

const tcpTables = (pid: number): string =>
  ['tcp', 'tcp6']
    .map((name) => {
      try {
        return readFileSync(`/proc/${pid}/net/${name}`, 'latin1');
      } catch {
        return '';
      }
    })
    .join('\n');

/** The line of an established socket: `sl local remote st tx:rx tr:when retrnsmt uid timeout inode ref pointer rto …` (proc_net_tcp.txt). */
const entryOf = (tables: string, inode: string): Pick<Glance, 'unackedBytes' | 'rtoMs'> | null => {
  const fields = tables
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find((line) => line[9] === inode && line[3] === ESTABLISHED);
  if (fields === undefined) return null;
  const [unacked = ''] = (fields[4] ?? '').split(':');
  // Each timeout doubles it, up to 15 times.
  const timeouts = Math.min(15, Number.parseInt(fields[6] ?? '0', 16));
  return { unackedBytes: Number.parseInt(unacked, 16), rtoMs: (Number(fields[12]) * MS_PER_TICK) / 2 ** timeouts };
};
