import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A client that means no good: what it does with one connection. It may go on until the connection is closed. */
export type Attack = {
  readonly name: string;
  readonly clients: number;
  readonly strike: (socket: Socket) => void;
  /** Whether it reads what it is answered. */
  readonly reads?: boolean;
};

const every = (socket: Socket, ms: number, act: () => void) => {
  const timer = setInterval(act, ms);
  socket.once('close', () => clearInterval(timer));
};
/** Writes the same again and again, as fast as it is taken. */
const pour = (socket: Socket, chunk: string | Buffer) => {
  const more = () => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', more);
  more();
};
const GET = 'GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n';

export const ATTACKS: readonly Attack[] = [
  { name: 'a crowd that connects and says nothing', clients: 1500, strike: () => {} },
  {
    name: 'clients that send a byte now and then',
    clients: 200,
    strike: (socket) => {
      socket.write('GET / HTTP/1.1\r\nx-a: ');
      every(socket, 200, () => socket.write('b'));
    },
  },
  {
    name: 'clients that are half closed',
    clients: 200,
    strike: (socket) => socket.write('GET / HT', () => socket.end()),
  },
  {
    name: 'endless headers',
    clients: 20,
    strike: (socket) => {
      socket.write('GET / HTTP/1.1\r\n');
      pour(socket, `x-header: ${'y'.repeat(60_000)}\r\n`);
    },
  },
  {
    name: 'endless bodies',
    clients: 20,
    strike: (socket) => {
      socket.write('POST /status HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000000\r\n\r\n');
      pour(socket, Buffer.alloc(65_536));
    },
  },
  {
    name: 'endless chunks behind a GET',
    clients: 20,
    strike: (socket) => {
      socket.write('GET /metrics HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n');
      pour(socket, `ffff\r\n${'z'.repeat(0xffff)}\r\n`);
    },
  },
  {
    name: 'thousands of requests in one piece, answers unread',
    clients: 20,
    strike: (socket) => pour(socket, GET.repeat(2_000)),
  },
  { name: 'clients that never read', clients: 200, strike: (socket) => socket.write(GET) },
  {
    name: 'noise instead of HTTP',
    clients: 50,
    reads: true,
    strike: (socket) => {
      socket.write(randomBytes(2_000));
      socket.write('\0\r\n\r\nGET\r\n\r\n');
    },
  },
  {
    name: 'requests that are nearly HTTP',
    clients: 50,
    reads: true,
    strike: (socket) =>
      socket.write(
        'GET /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc',
      ),
  },
  {
    name: 'upgrades and tunnels',
    clients: 50,
    reads: true,
    strike: (socket) =>
      socket.write('CONNECT a:1 HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'),
  },
];

/** Keeps all clients of an attack at it: who is thrown out comes back. From 127.0.0.2, which is not where the probes come from. */
export const attack = ({ clients, strike, reads = false }: Attack, ports: readonly number[]) => {
  const open = new Set<Socket>();
  const ended = new AbortController();
  let connections = 0;
  const client = async (index: number): Promise<void> => {
    while (!ended.signal.aborted) {
      const port = ports[index % ports.length] ?? 0;
      const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2', allowHalfOpen: true });
      open.add(socket);
      socket.on('error', () => {});
      if (reads) socket.resume();
      socket.once('connect', () => {
        connections++;
        strike(socket);
      });
      // A client that does not read does not see the end either: it learns of it by its own writes, or not at all.
      await new Promise((done) => socket.once('close', done));
      open.delete(socket);
      await delay(50);
    }
  };
  const all = Array.from({ length: clients }, (_, index) => client(index));
  return {
    connections: () => connections,
    stop: async (): Promise<void> => {
      ended.abort();
      for (const socket of open) socket.destroy();
      await Promise.all(all);
    },
  };
};
