import { createServer } from 'node:net';

/**
 * A free port below the range from which the kernel takes ports for outgoing connections (32768 and up):
 * nothing else takes one of these by chance, so a server can be stopped and find its port again.
 */
export async function freePort(address: string): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    if (await isFree(address, port)) return port;
  }
  throw new Error(
    `expected a free port of ${address} between 20000 and 29999; got none in 100 attempts: what listens there? (ss -ltn)`,
  );
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
