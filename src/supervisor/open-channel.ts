import type { Socket } from 'node:net';
import type { Endpoint } from '../api/document.ts';
import { endpointText } from '../tunnel/ssh-args.ts';
import type { ChannelAnswer, ControlSocket } from './control-socket.ts';
import type { Beat } from './heartbeat.ts';
import { closedSoFar, dial } from './socket-io.ts';
import { errorText } from './system-error.ts';

export type TargetChannel = {
  /** Opens a channel to the target and closes it: what did the server say? Never rejects. */
  readonly open: (timeoutMs: number, signal: AbortSignal) => Promise<ChannelAnswer>;
  /** Takes its forward off the living connection. */
  readonly leave: (timeoutMs: number, signal: AbortSignal) => Promise<void>;
};

export type TargetOptions = {
  readonly control: ControlSocket;
  readonly target: Endpoint;
  /** Asks for any answer of the server. */
  readonly ping: (timeoutMs: number, signal: AbortSignal) => Promise<Beat>;
  /** For a private socket, where one is needed. */
  readonly path: string;
};

/**
 * Whether the server reaches a target. A listener of ssh accepts before the server was asked, so that a connection that stands proves
 * nothing yet. A host and port are asked for by a client of the control socket, which is told. A unix socket cannot be, before OpenSSH
 * 9.4; there the server is asked for a ping after it: it answers in order, and for a unix socket at once.
 */
export const openChannel = ({ control, target, ping, path }: TargetOptions): TargetChannel => {
  const way = ['-L', `${path}:${endpointText(target)}`];
  let isThere = false;

  const byListener = async (timeoutMs: number, signal: AbortSignal): Promise<ChannelAnswer> => {
    const added = isThere ? ({ ok: true } as const) : await control.forward(way, timeoutMs, signal);
    if (!added.ok) return { is: 'Silent', problem: added.problem };
    isThere = true;
    try {
      const socket = await dial({ path }, timeoutMs, signal);
      try {
        return await answered(socket, ping, timeoutMs, signal);
      } finally {
        socket.destroy();
      }
    } catch (problem) {
      return { is: 'Silent', problem: errorText(problem) };
    }
  };

  return {
    open: (timeoutMs, signal) =>
      'path' in target ? byListener(timeoutMs, signal) : control.channel(endpointText(target), timeoutMs, signal),
    leave: async (timeoutMs, signal) => {
      if (isThere) await control.cancel(way, timeoutMs, signal);
    },
  };
};

/** What became of a connection through a listener of ssh that leads to a unix socket of the server. */
export const answered = async (
  socket: Socket,
  ping: TargetOptions['ping'],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ChannelAnswer> => {
  const isClosed = closedSoFar(socket);
  // ssh may see both connections in one look around, and the later one first: once it answered, the other is surely on its way.
  for (let pings = 0; pings < 2; pings++) {
    const beat = await ping(timeoutMs, signal);
    if (!beat.ok) return { is: 'Silent', problem: beat.detail };
  }
  return (await isClosed()) ? { is: 'Refused' } : { is: 'Opened' };
};
