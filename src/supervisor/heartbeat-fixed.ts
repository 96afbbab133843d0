import type { Server, Socket } from 'node:net';
import { debug, info, type LogLine } from '../tunnel/log-line.ts';
import type { Monitor } from '../tunnel/monitor.ts';
import { beatText } from './beat-text.ts';
import { type Beat, type Heartbeat, lost } from './heartbeat.ts';
import { dial, type Guests, queueGuests, read, TimeoutError } from './socket-io.ts';
import { errorText } from './system-error.ts';

/** What the two heartbeats over fixed ports have in common. */
export type FixedOptions = {
  readonly monitor: Extract<Monitor, { method: 'Loop' | 'Echo' }>;
  /** Listens on 127.0.0.1:port+1 for the way back (Loop). */
  readonly server: Server | null;
  /** AUTOSSH_MESSAGE. */
  readonly message: string;
  /** For accepting, and again for sending and receiving. */
  readonly timeoutMs: number;
  readonly log: (line: LogLine) => void;
  /** Told of every beat for which ssh had opened the way out, so that it was logged in: whether the text came round. */
  readonly onAnswer?: (came: boolean) => void;
};

/** autossh 1.4g counts to three and gives up at the third. */
const TRIES = 2;

/**
 * The heartbeats of autossh 1.4g over fixed ports, with its words for what goes wrong. Loop: out through `port`, through the
 * server, back to `port + 1`. Echo: out through `port` to an echo service beside the server, back on the same connection.
 * The connection counts as up only with the first beat: ssh is not asked.
 */
export const fixedHeartbeat = (options: FixedOptions): Heartbeat => ({
  method: options.monitor.method,
  // They stand where -M stood, so the command line has them already (monitorForwards).
  sshArgs: [],
  open: () => new Promise(() => {}),
  beat: async (signal) => {
    const started = performance.now();
    // From before the way out is opened: on a short way the connection back is here before our own is answered.
    const guests = options.server === null ? null : queueGuests(options.server);
    const out = await connectOut(options, signal);
    if (out === null) {
      guests?.close();
      return lost(`no connection to 127.0.0.1:${options.monitor.port}`);
    }
    try {
      const came = guests === null ? await echo(out, options, signal) : await loop(guests, out, options, signal);
      if (!signal.aborted) options.onAnswer?.(came);
      return came ? { ok: true, rttMs: performance.now() - started } : lost('the heartbeat did not come back');
    } catch (problem) {
      return lost(errorText(problem));
    } finally {
      out.destroy();
      guests?.close();
    }
  },
  close: () => {},
});

const connectOut = async (options: FixedOptions, signal: AbortSignal): Promise<Socket | null> => {
  const { port } = options.monitor;
  try {
    return await dial({ host: '127.0.0.1', port }, options.timeoutMs, signal);
  } catch (problem) {
    if (!signal.aborted) options.log(info(`127.0.0.1:${port}: ${errorText(problem)}`));
    return null;
  }
};

/**
 * Sends only once the way back stands, and compares what comes back with what went out. Anybody on this machine may come first:
 * our own way back then waits its turn.
 */
const loop = async (guests: Guests, out: Socket, options: FixedOptions, signal: AbortSignal): Promise<boolean> => {
  const { timeoutMs, log } = options;
  const text = beatText(options.message);
  for (let tries = 0; tries < TRIES; tries++) {
    let back: Socket;
    try {
      back = await guests.next(timeoutMs, signal);
    } catch (problem) {
      if (problem instanceof TimeoutError) log(info('timeout polling to accept read connection'));
      return false;
    }
    try {
      if (await matches(text, out, back, options, signal)) return true;
    } catch (problem) {
      if (!(problem instanceof TimeoutError)) throw problem;
      log(debug('timeout on io poll, looping to accept again'));
    } finally {
      back.destroy();
    }
  }
  log(debug(`tried connection ${TRIES + 1} times and failed`));
  return false;
};

const echo = async (out: Socket, options: FixedOptions, signal: AbortSignal): Promise<boolean> => {
  const text = beatText(options.message);
  for (let tries = 0; tries < TRIES; tries++) {
    if (out.destroyed || out.readableEnded) {
      options.log(debug('error on poll: Connection reset by peer'));
      return false;
    }
    try {
      if (await matches(text, out, out, options, signal)) return true;
    } catch (problem) {
      if (!(problem instanceof TimeoutError)) throw problem;
      options.log(debug('timeout on io poll, looping to accept again'));
    }
  }
  options.log(debug(`tried connection ${TRIES + 1} times and failed`));
  return false;
};

const matches = async (
  text: Buffer,
  out: Socket,
  back: Socket,
  options: FixedOptions,
  signal: AbortSignal,
): Promise<boolean> => {
  out.write(text);
  const came = await read(back, text.length, options.timeoutMs, signal);
  if (came.equals(text)) return true;
  options.log(debug(`not what I sent: "${printable(text)}" : "${printable(came)}"`));
  return false;
};

/** One message, one line: neither our own end of line nor a stranger's bytes may break the log. */
const printable = (bytes: Buffer): string => bytes.toString('latin1').replace(/[^\x20-\x7e]/g, '.');

/** A beat over nothing: monitoring is off (`-M 0`), only ssh's own exit is noticed. */
export const noHeartbeat: Heartbeat = {
  method: 'None',
  sshArgs: [],
  open: () => new Promise(() => {}),
  beat: async (): Promise<Beat> => ({ ok: true, rttMs: null }),
  close: () => {},
};
