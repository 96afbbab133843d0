import { connect, createServer, type Socket, type TcpNetConnectOpts } from 'node:net';

/** A stretch of network between two programs that can be cut without root: a TCP relay on loopback. */
export type Relay = {
  readonly port: number;
  /** From now on nothing passes on the connections that stand, and nobody is told; new ones pass. So a firewall forgets. */
  blackHole(): void;
  close(): Promise<void>;
};

/** Starts a relay from a free port of 127.0.0.1 to `target`. */
export const startRelay = async (target: Pick<TcpNetConnectOpts, 'host' | 'port'>): Promise<Relay> => {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect({ ...target, noDelay: true });
    client.setNoDelay(true);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        open.delete(one);
        if (!one.isPaused()) other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
  return {
    port: address.port,
    blackHole: () => {
      for (const socket of open) {
        socket.unpipe();
        socket.pause();
      }
    },
    close: () => {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
};
