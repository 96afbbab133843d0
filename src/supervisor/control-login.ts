import { existsSync } from 'node:fs';
import type { ControlSocket } from './control-socket.ts';
import { watchDirectory } from './watch-directory.ts';

/** How often the control socket is looked for: beside a watch, which can lose an event, and where the directory cannot be watched. */
const LOOK_EVERY_MS = { watched: 1_000, unwatched: 100 };

/** Resolves when ssh has logged in, which is when it makes its control socket; rejects with the signal's reason. */
export const loggedIn = ({ dir, path }: ControlSocket, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const look = () => {
      if (!existsSync(path)) return;
      stop();
      resolve();
    };
    const abort = () => {
      stop();
      reject(signal.reason);
    };
    const watcher = watchDirectory(dir, look);
    const timer = setInterval(look, LOOK_EVERY_MS[watcher === null ? 'unwatched' : 'watched']);
    const stop = () => {
      watcher?.close();
      clearInterval(timer);
      signal.removeEventListener('abort', abort);
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    else look();
  });
