import { createServer } from 'node:net';

/**
 * A TCP port that was free a moment ago. Below Linux's range of outgoing ports (32768 up), so that no stranger's connection
 * takes it while its server restarts; random, so that tests running beside each other seldom meet.
 */
export const freePort = async (host = '127.0.0.1'): Promise<number> => {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await canBind(host, port)) return port;
  }
};

/** Whether a server could listen there now. */
export const canBind = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
