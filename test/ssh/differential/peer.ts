import { connect, createServer, type Server, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { until } from '../../support/until.ts';

/**
 * What stands at the other end of the monitor port in place of ssh and the server. `loop`: passes on to port + 1, as the two
 * forwards do; `echo`: an echo service; `silent`: takes the bytes and says nothing; `garbled`: a loop or echo that makes a v of each w;
 * `closing`: hangs up at once.
 */
export type Manner = 'loop' | 'garbled loop' | 'silent loop' | 'silent' | 'echo' | 'garbled echo' | 'closing';

export type Peer = {
  /** The messages that came from the autossh of this pid, each with what changes from one to the next named. */
  readonly messages: (pid: number) => string[];
  readonly hasGuest: () => Promise<unknown>;
  readonly stop: () => void;
};

export const startPeer = async (port: number, manner: Manner): Promise<Peer> => {
  let received = '';
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    return socket;
  };
  const server: Server = createServer((guest) => {
    keep(guest);
    if (manner === 'closing') return void guest.destroy();
    const back = manner.endsWith('loop') ? keep(connect(port + 1, '127.0.0.1')) : guest;
    if (back !== guest) {
      guest.on('close', () => back.destroy());
      back.on('close', () => guest.destroy());
    }
    guest.on('data', (bytes: Buffer) => {
      received += bytes.toString('latin1');
      if (manner.startsWith('silent')) return;
      back.write(
        manner.startsWith('garbled') ? Buffer.from(bytes.map((byte) => (byte === 0x77 ? 0x76 : byte))) : bytes,
      );
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    messages: (pid) => received.split(/(?<=\n)/).map((message) => named(message, pid)),
    hasGuest: () => until('a beat', () => sockets.size > 0),
    stop: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
};

const named = (text: string, pid: number): string =>
  text
    .replace(hostname(), 'HOST')
    .replace(` autossh ${pid} `, ' autossh PID ')
    .replace(/(PID) \d+ /, '$1 RANDOM ');
