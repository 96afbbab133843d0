import { randomInt } from 'node:crypto';
import { hostname } from 'node:os';

/**
 * The text of one beat, byte for byte as autossh 1.4g sends it: `<nodename> autossh <pid> <random> <message>` and CR LF. The random
 * number, new for each beat, is what tells our own echo from a stranger's.
 */
export const beatText = (message: string): Buffer =>
  Buffer.from(`${hostname()} autossh ${process.pid} ${randomInt(0x7fffffff)} ${message}\r\n`);
