import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A wire between client and server that can be made to fail as wires do. */
export type TcpProxy = {
  readonly port: number;
  /** Connections made since the start. */
  readonly made: () => number;
  readonly open: () => number;
  /** From now on the connections that exist carry nothing, and nobody is told. New ones work. */
  readonly stall: () => void;
  /** Resets all connections. */
  readonly cut: () => void;
  /** Refuses new connections as long as it is held. */
  readonly hold: (held: boolean) => void;
  readonly close: () => Promise<void>;
};

export const createTcpProxy = async (target: { host: string; port: number }): Promise<TcpProxy> => {
  const pairs = new Set<readonly [Socket, Socket]>();
  let made = 0;
  let refusing = false;
  const server = createServer((client) => {
    if (refusing) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    made++;
    const upstream = connect(target);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.setNoDelay(true);
      one.on('error', () => {});
      one.on('close', () => {
        other.destroy();
        pairs.delete(pair);
      });
    }
    client.pipe(upstream);
    upstream.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    made: () => made,
    open: () => pairs.size,
    stall: () => {
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream);
        upstream.unpipe(client);
        // Read on, or the kernel would keep the end of the other side from us.
        client.resume();
        upstream.resume();
      }
    },
    cut: () => {
      for (const [client, upstream] of pairs) {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      }
    },
    hold: (held) => {
      refusing = held;
    },
    close: async () => {
      for (const [client, upstream] of pairs) {
        client.destroy();
        upstream.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
};
