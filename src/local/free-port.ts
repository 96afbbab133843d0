import { createServer } from 'node:net';

const HIGHEST = 65_535;

/** The first port of 127.0.0.1 from `first` on that is free now and not in `taken`. Throws where there is none up to 65535. */
export const nextFreePort = async (first: number, taken: ReadonlySet<number>): Promise<number> => {
  for (let port = first; port <= HIGHEST; port++) if (!taken.has(port) && (await canListen(port))) return port;
  throw new Error(`expected a free port of 127.0.0.1 from ${first} on; got none`);
};

const canListen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
