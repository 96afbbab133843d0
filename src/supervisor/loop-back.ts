import { createServer, type Server, type Socket } from 'node:net';
import { beatText } from './beat-text.ts';
import type { ChannelOptions } from './heartbeat-options.ts';
import { read } from './socket-io.ts';

/** A text, and the promise that it came in on any connection. */
export type Back = { readonly text: Buffer; readonly came: Promise<void>; readonly close: () => void };

/** Listens for what comes back, on a private unix socket. */
export const listenForBack = (path: string): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((guest) => {
      guest.on('error', () => {});
      // Nobody has business here between the beats.
      if (server.listenerCount('connection') === 1) guest.destroy();
    });
    // Also after it listens, when nobody waits for this promise any more: no accept that fails (no more files) may end the program.
    server.on('error', reject);
    server.listen(path, () => resolve(server));
  });

/** A stranger who connects to the server's port and sends something else, or nothing, is passed over. */
export const awaitBack = (
  server: Server,
  { message, timeoutMs }: Pick<ChannelOptions, 'message' | 'timeoutMs'>,
  signal: AbortSignal,
): Back => {
  const text = beatText(message);
  const guests: Socket[] = [];
  let welcome = (_guest: Socket) => {};
  const came = new Promise<void>((resolve) => {
    welcome = (guest) => {
      guests.push(guest);
      read(guest, text.length, timeoutMs, signal).then(
        (bytes) => bytes.equals(text) && resolve(),
        () => {},
      );
    };
  });
  server.on('connection', welcome);
  const close = () => {
    server.off('connection', welcome);
    for (const guest of guests) guest.destroy();
  };
  return { text, came, close };
};

/** Sends the text out and waits for it. True when it came; false when the way out was closed before. */
export const comesBack = (out: Socket, back: Back, timeoutMs: number, signal: AbortSignal): Promise<boolean> => {
  out.write(back.text);
  const closed = read(out, 1, timeoutMs, signal).then(() => false);
  return Promise.race([back.came.then(() => true), closed]);
};
