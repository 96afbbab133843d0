import { readFileSync } from 'node:fs';

/** Flag of a socket that accepts connections: its file is there a moment sooner, and refuses them. */
const ACCEPTS = ' 00010000 ';

/** Whether somebody listens at the unix socket `path`. Each network namespace has a table of those that were made in it. */
export const listensAt = (path: string, table = '/proc/net/unix'): boolean =>
  readFileSync(table, 'latin1')
    .split('\n')
    .some((line) => line.includes(ACCEPTS) && line.endsWith(` ${path}`));
