import { createSocket, type Socket } from 'node:dgram';

/**
 * A long wire as a program: what comes from one end leaves at the other as a real one would let it, each way for itself. Run by link.ts
 * in a network namespace; each datagram is one packet of a TUN device. It does what `tc netem delay loss rate limit` does, which many
 * kernels do not have.
 */
export type WireOptions = {
  /** UDP addresses: where each end's datagrams come in here, and where they go to over there. */
  readonly ends: readonly [WireEnd, WireEnd];
  /** One way, ms. */
  readonly delayMs: number;
  /** Share of the packets that are lost, 0 to 1. */
  readonly loss: number;
  /** Bits per second each way; 0: as fast as this machine. */
  readonly bitsPerSecond: number;
  /** Packets that wait for the rate; what comes on top is dropped. */
  readonly queuePackets: number;
};
export type WireEnd = {
  readonly here: { readonly host: string; readonly port: number };
  readonly there: { readonly host: string; readonly port: number };
};

type Packet = { readonly bytes: Buffer; readonly at: number };

/** One way of the wire: a queue before the rate, then the delay. */
const oneWay = (send: (bytes: Buffer) => void, { delayMs, loss, bitsPerSecond, queuePackets }: WireOptions) => {
  const queue: Buffer[] = [];
  const flying: Packet[] = [];
  let freeAt = 0;
  let timer: NodeJS.Timeout | undefined;
  const fly = (bytes: Buffer, at: number) => flying.push({ bytes, at: at + delayMs });
  const pump = () => {
    const now = performance.now();
    for (let next = queue[0]; next !== undefined && freeAt <= now; next = queue[0]) {
      queue.shift();
      // A late timer does not cost the wire its rate.
      freeAt = Math.max(freeAt, now - 20) + (next.length * 8000) / bitsPerSecond;
      fly(next, freeAt);
    }
    for (let next = flying[0]; next !== undefined && next.at <= now; next = flying[0]) {
      flying.shift();
      send(next.bytes);
    }
    const due = Math.min(
      queue.length > 0 ? freeAt : Number.POSITIVE_INFINITY,
      flying[0]?.at ?? Number.POSITIVE_INFINITY,
    );
    clearTimeout(timer);
    timer = due === Number.POSITIVE_INFINITY ? undefined : setTimeout(pump, Math.max(0, due - now));
  };
  return (bytes: Buffer) => {
    if (Math.random() < loss) return;
    if (bitsPerSecond === 0) fly(bytes, performance.now());
    else if (queue.length < queuePackets) queue.push(bytes);
    pump();
  };
};

const open = ({ here }: WireEnd): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind(here.port, here.host, () => {
      // An end that is not there yet refuses; packets are lost then, as on any wire.
      socket.off('error', reject).on('error', () => {});
      resolve(socket);
    });
  });

const options = JSON.parse(process.argv[2] ?? '') as WireOptions;
const [first, second] = options.ends;
const [left, right] = [await open(first), await open(second)];
const to =
  (socket: Socket, { there }: WireEnd) =>
  (bytes: Buffer) =>
    socket.send(bytes, there.port, there.host);
left.on('message', oneWay(to(right, second), options));
right.on('message', oneWay(to(left, first), options));
