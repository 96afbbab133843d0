import { existsSync, watch } from 'node:fs';
import type { ControlSocket } from './control-socket.ts';

/** How often the control socket is looked for where the directory cannot be watched. */
const LOOK_EVERY_MS = 1_000;

/** Resolves when ssh has logged in, which is when it makes its control socket; rejects with the signal's reason. */
export const loggedIn = ({ dir, path, seen }: ControlSocket, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const look = () => {
      if (!existsSync(path)) return;
      seen.login = true;
      stop();
      resolve();
    };
    const abort = () => {
      stop();
      reject(signal.reason);
    };
    const watcher = watch(dir, look);
    watcher.on('error', () => {});
    const timer = setInterval(look, LOOK_EVERY_MS);
    const stop = () => {
      watcher.close();
      clearInterval(timer);
      signal.removeEventListener('abort', abort);
    };
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    else look();
  });
