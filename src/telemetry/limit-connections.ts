import type { Server, Socket } from 'node:net';

/**
 * Keeps a server to `most` connections. One too many costs the oldest one of the address that has the most: who is new is always heard,
 * so that a client that holds everything it can get takes no probe from a kubelet.
 */
export const limitConnections = (server: Server, most: number): { closeAll(): void } => {
  /** By address, each in the order in which they came. */
  const open = new Map<string, Set<Socket>>();
  let count = 0;

  const busiest = (): string => {
    let found = '';
    for (const [address, sockets] of open) if (sockets.size > (open.get(found)?.size ?? 0)) found = address;
    return found;
  };
  const forget = (address: string, socket: Socket): void => {
    const sockets = open.get(address);
    if (sockets?.delete(socket) !== true) return;
    count--;
    if (sockets.size === 0) open.delete(address);
  };

  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const sockets = open.get(address) ?? new Set();
    open.set(address, sockets.add(socket));
    count++;
    socket.once('close', () => forget(address, socket));
    if (count <= most) return;
    const from = busiest();
    const [oldest] = open.get(from) ?? [];
    if (oldest === undefined) return;
    forget(from, oldest);
    oldest.destroy();
  });
  return {
    closeAll: () => {
      for (const sockets of open.values()) for (const socket of sockets) socket.destroy();
    },
  };
};
