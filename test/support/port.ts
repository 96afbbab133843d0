import { createServer } from 'node:net';

/** Below Linux's range of outgoing ports (32768 up), so that no stranger's connection takes one while its server restarts. */
const [FIRST, COUNT] = [20_000, 12_000];
/** Test files that run beside each other draw from ranges of their own. */
const SHARES = 6;
const SHARE = COUNT / SHARES;
const first = FIRST + SHARE * (Number(process.env['VITEST_POOL_ID'] ?? process.pid) % SHARES);
/** `-M port` takes the port above, too; and whoever needs an even port (autossh's own tests of pairs) gets one at once. */
const STEP = 4;
let drawn = STEP * Math.floor((Math.random() * SHARE) / STEP);

/**
 * A TCP port that was free a moment ago. One after the other, from a random one on: whoever asks next gets another, although the server
 * that this one is for may not listen yet. It is even, and nobody else draws the one above it.
 */
export const freePort = async (host = '127.0.0.1'): Promise<number> => {
  for (let tries = 0; tries < SHARE / STEP; tries++) {
    drawn += STEP;
    const port = first + (drawn % SHARE);
    if (await canBind(host, port)) return port;
  }
  throw new Error(
    `expected a free port of ${host} from ${first} to ${first + SHARE - 1}; got none: what listens there? (ss -ltn)`,
  );
};

/** Whether a server could listen there now. */
export const canBind = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
