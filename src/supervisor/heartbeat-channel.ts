import { existsSync, rmSync, watch } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { debug, info, type LogLine } from '../tunnel/log-line.ts';
import { beatText } from './beat-text.ts';
import type { ControlSocket } from './control-socket.ts';
import { type Beat, type Heartbeat, lost } from './heartbeat.ts';
import { dial, read, TimeoutError } from './socket-io.ts';
import { errorText } from './system-error.ts';

export type ChannelOptions = {
  readonly control: ControlSocket;
  readonly message: string;
  /** In milliseconds; asked for at each beat, so that a changed one is in force at once. */
  readonly timeoutMs: number;
  readonly log: (line: LogLine) => void;
  /** Called when ssh is about to print this many lines on stderr that come from the heartbeat and not from the user's traffic. */
  readonly expectNoise: (lines: number) => void;
};

/** A port that no server serves: opening a channel to it brings the server's refusal, and with it the proof that it lives. */
const REFUSED_PORT = 1;
/** How often the control socket is looked for where the directory cannot be watched. */
const LOOK_EVERY_MS = 1_000;

/**
 * The heartbeat that nothing can collide with. Both ways are added to the living connection over ssh's control socket: a port that
 * the server chooses, back to a private unix socket of ours, and another unix socket out to that port. Where the server allows no
 * remote forward, or no connection to its own port, the beat becomes a ping: a channel that the server must refuse. Its refusal
 * takes a round trip like any answer.
 */
export const channelHeartbeat = (options: ChannelOptions): Heartbeat => {
  const { control, log } = options;
  const out = join(control.dir, 'out');
  const echo = join(control.dir, 'echo');
  let server: Server | null = null;
  let isOpen = false;
  let proven = false;
  let method: 'Loop' | 'Ping' = 'Loop';

  /** 1.4g says only that the port is down; what this heartbeat saw is worth a line of its own. */
  const missed = (detail: string): Beat => {
    log(debug(`heartbeat: ${detail}`));
    return lost(detail);
  };

  const add = async (...spec: string[]): Promise<string> => {
    const answer = await control.forward(spec, options.timeoutMs);
    if (!answer.ok) throw new Error(answer.problem);
    return answer.output;
  };

  const pingInstead = async (why: string): Promise<void> => {
    method = 'Ping';
    log(info(`heartbeat: the server allows no loop (${why}); using a channel that it must refuse`));
    rmSync(out, { force: true });
    await add('-L', `${out}:127.0.0.1:${REFUSED_PORT}`);
  };

  return {
    get method() {
      return method;
    },
    sshArgs: control.masterArgs,
    open: async (signal) => {
      await appears(control.dir, control.path, signal);
      server = await listen(echo);
      options.expectNoise(2);
      try {
        const port = await add('-R', `127.0.0.1:0:${echo}`);
        options.expectNoise(0);
        if (!/^\d+$/.test(port)) throw new Error(`expected a port number from ssh, got ${JSON.stringify(port)}`);
        await add('-L', `${out}:127.0.0.1:${port}`);
        log(debug(`heartbeat: loop through port ${port} of the server`));
      } catch (problem) {
        if (signal.aborted) throw problem;
        await pingInstead(errorText(problem));
      }
      isOpen = true;
    },
    beat: async (signal): Promise<Beat> => {
      if (!isOpen) return missed('ssh is not connected');
      const started = performance.now();
      const noisy = method === 'Ping' || !proven;
      options.expectNoise(noisy ? 1 : 0);
      // From before the way out is opened: the way back may be here before we know that it is.
      const back = method === 'Loop' && server !== null ? awaitBack(server, options, signal) : null;
      let socket: Socket;
      try {
        socket = await dial({ path: out }, options.timeoutMs, signal);
      } catch (problem) {
        back?.close();
        return missed(errorText(problem));
      }
      try {
        if (back === null) {
          await read(socket, 1, options.timeoutMs, signal);
        } else if (!(await comesBack(socket, back, options.timeoutMs, signal))) {
          if (proven) return missed('the server closed the channel of the heartbeat');
          // It answered, if only to refuse: that is what a ping asks for.
          method = 'Ping';
          log(
            info('heartbeat: the server refuses connections to its own port; its refusal is the heartbeat from now on'),
          );
        }
        proven = true;
        return { ok: true, rttMs: performance.now() - started };
      } catch (problem) {
        return missed(
          problem instanceof TimeoutError ? `no answer within ${options.timeoutMs} ms` : errorText(problem),
        );
      } finally {
        socket.destroy();
        back?.close();
      }
    },
    close: () => {
      isOpen = false;
      server?.close();
      control.remove();
    },
  };
};

/** A text, and the promise that it came in on any connection. */
type Back = { readonly text: Buffer; readonly came: Promise<void>; readonly close: () => void };

/** A stranger who connects to the server's port and sends something else, or nothing, is passed over. */
const awaitBack = (server: Server, { message, timeoutMs }: ChannelOptions, signal: AbortSignal): Back => {
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
const comesBack = (out: Socket, back: Back, timeoutMs: number, signal: AbortSignal): Promise<boolean> => {
  out.write(back.text);
  const closed = read(out, 1, timeoutMs, signal).then(() => false);
  return Promise.race([back.came.then(() => true), closed]);
};

const listen = (path: string): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((guest) => {
      guest.on('error', () => {});
      // Nobody has business here between the beats.
      if (server.listenerCount('connection') === 1) guest.destroy();
    });
    server.once('error', reject);
    server.listen(path, () => resolve(server));
  });

/** Resolves when the control socket is there: ssh makes it once it has logged in. */
const appears = (dir: string, path: string, signal: AbortSignal): Promise<void> =>
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
