import { connect, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { errorText } from './system-error.ts';

/** A step of socket work did not end in its time. */
export class TimeoutError extends Error {}

/** In words, of what one of these functions rejected with. */
export const whyNoAnswer = (problem: unknown, timeoutMs: number): string =>
  problem instanceof TimeoutError ? `no answer within ${timeoutMs} ms` : errorText(problem);

/** Resolves with the connected socket; rejects with the system's error, a TimeoutError, or the signal's reason. */
export const dial = (to: NetConnectOpts, timeoutMs: number, signal: AbortSignal): Promise<Socket> => {
  const socket = connect(to);
  const ready = once<Socket>(timeoutMs, signal, (resolve, reject) => {
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
  ready.catch(() => socket.destroy());
  // After this step errors come by 'close' to whoever reads; an unheard 'error' would end the process.
  socket.on('error', () => {});
  return ready;
};

/**
 * The connections to a server that is listening, in their order, none lost between one look and the next. To be made before the way
 * out is opened: the way back may stand before we hear that the way out does.
 */
export type Guests = {
  /** The next one; rejects with a TimeoutError, or the signal's reason. */
  readonly next: (timeoutMs: number, signal: AbortSignal) => Promise<Socket>;
  /** Shows out those that were not asked for. */
  readonly close: () => void;
};

export const queueGuests = (server: Server): Guests => {
  const waiting: Socket[] = [];
  let serve: ((guest: Socket) => void) | null = null;
  const come = (guest: Socket) => {
    if (serve === null) waiting.push(guest);
    else serve(guest);
  };
  server.on('connection', come);
  return {
    next: (timeoutMs, signal) => {
      const next = once<Socket>(timeoutMs, signal, (resolve) => {
        const first = waiting.shift();
        if (first === undefined) serve = resolve;
        else resolve(first);
      });
      const forget = () => {
        serve = null;
      };
      next.then(forget, forget);
      return next;
    },
    close: () => {
      server.off('connection', come);
      for (const guest of waiting) guest.destroy();
    },
  };
};

/** Exactly `length` bytes, or fewer where the other side ends sooner. */
export const read = (socket: Socket, length: number, timeoutMs: number, signal: AbortSignal): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let left = length;
  let stop = () => {};
  const done = once<Buffer>(timeoutMs, signal, (resolve) => {
    const onData = (chunk: Buffer) => {
      const part = chunk.subarray(0, left);
      chunks.push(part);
      left -= part.length;
      if (left === 0) resolve(Buffer.concat(chunks));
    };
    const onEnd = () => resolve(Buffer.concat(chunks));
    stop = () => socket.off('data', onData).off('end', onEnd).off('close', onEnd).pause();
    socket.on('data', onData).on('end', onEnd).on('close', onEnd).resume();
    if (socket.destroyed || socket.readableEnded) onEnd();
  });
  done.then(stop, stop);
  return done;
};

/** Watches a connection of which nothing is to be read: whether it was closed before any byte came, as far as is known by now. */
export const closedSoFar = (socket: Socket): (() => Promise<boolean>) => {
  let came = false;
  let closed = false;
  socket.on('data', () => {
    came = true;
    socket.pause();
  });
  for (const event of ['end', 'close']) socket.once(event, () => (closed = true));
  socket.resume();
  return async () => {
    // What has happened to several sockets is heard of in any order: one look at all of them.
    await new Promise(setImmediate);
    return closed && !came;
  };
};

/** What the work comes to; rejects as it does, with a TimeoutError, or with the signal's reason. The work itself goes on. */
export const inTime = <T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> =>
  once<T>(timeoutMs, signal, (resolve, reject) => void work.then(resolve, reject));

const once = <T>(
  timeoutMs: number,
  signal: AbortSignal,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> =>
  new Promise<T>((resolve, reject) => {
    const finish =
      <V>(settle: (value: V) => void) =>
      (value: V) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
        settle(value);
      };
    const fail = finish(reject);
    const abort = () => fail(signal.reason);
    // After a halt of this process (a busy machine, a laptop that slept) Node runs its timers first, although what was waited for
    // may have come long ago: one look at the sockets before the verdict.
    const giveUp = () => setImmediate(() => fail(new TimeoutError(`nothing within ${timeoutMs} ms`)));
    const timer = setTimeout(giveUp, timeoutMs);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    else start(finish(resolve), fail);
  });
