import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export type RequestLimits = {
  /** Longest head of a request, in bytes. */
  readonly mostBytes: number;
  /** From the connection's first moment to its end, whatever it does. */
  readonly deadlineMs: number;
};

const MOST_LEFT_BYTES = 65_536;
const END_OF_HEAD = '\r\n\r\n';

/**
 * Hands on the head of the first request of a connection, and nothing that comes behind it: a stream that Node's own HTTP parser reads,
 * and whose answer goes to the socket. Node alone would parse and answer into memory each of the thousands of requests that fit into one
 * piece from the network: 20 such clients took 240 MB (test/ssh/hostile-http.test.ts). What cannot be a head any more is handed on too,
 * for Node to say so.
 */
export const oneRequest = (socket: Socket, { mostBytes, deadlineMs }: RequestLimits, hand: (head: Duplex) => void) => {
  let head = Buffer.alloc(0);
  const deadline = setTimeout(() => socket.destroy(), deadlineMs);
  socket.once('close', () => clearTimeout(deadline));
  socket.on('error', () => socket.destroy());
  const take = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk.subarray(0, mostBytes + 1 - head.length)]);
    const end = head.indexOf(END_OF_HEAD);
    if (end < 0 && head.length <= mostBytes && !cannotBeHttp(head)) return;
    socket.off('data', take).off('end', leave).pause();
    hand(answeredTo(socket, end < 0 ? head : head.subarray(0, end + END_OF_HEAD.length)));
    head = Buffer.alloc(0);
  };
  // Who has said all that it will, and no request, gets no more time.
  const leave = () => socket.destroy();
  socket.on('data', take).once('end', leave);
};

const answeredTo = (socket: Socket, head: Buffer): Duplex => {
  const stream = new Duplex({
    read: () => {},
    write: (chunk, encoding, done) => void socket.write(chunk, encoding, done),
    final: (done) => {
      socket.end(done);
      linger(socket);
    },
    destroy: (error, done) => {
      socket.destroySoon();
      done(error);
    },
  });
  socket.once('close', () => stream.destroy());
  stream.push(head);
  return stream;
};

/** Waits for the client to close; what it still sends is thrown away, up to a measure: a close before that would cost it the answer. */
const linger = (socket: Socket): void => {
  let left = MOST_LEFT_BYTES;
  socket.on('data', ({ length }) => {
    left -= length;
    if (left < 0) socket.destroy();
  });
  socket.resume();
};

/** A method is letters: whatever else begins a connection need not be waited for. */
const cannotBeHttp = (head: Buffer): boolean => !/^(?:\r\n)*[A-Z]{0,20}(?: |$)/.test(head.toString('latin1', 0, 32));
