import type { Socket } from 'node:net';
import type { ProbeResult } from '../tunnel/forward-state.ts';
import { endpointText } from '../tunnel/ssh-args.ts';
import type { ProbeOptions } from './forward-probe.ts';
import { answered, openChannel } from './open-channel.ts';
import { closedSoFar, dial } from './socket-io.ts';
import { errorText } from './system-error.ts';

/**
 * A connection through the forward's own listener that is not closed at once. ssh accepts it before the server was asked, so the
 * server is asked as well: only when it reached the target is it known that the connection goes through, and not that it hangs.
 */
export const probeTcp = async (
  { forward, listener, control, ping, refusals }: ProbeOptions,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> => {
  const started = performance.now();
  const left = () => Math.max(1, timeoutMs - (performance.now() - started));
  const where = `the target ${endpointText(forward.target)}`;
  const refusal = refusals.watch();
  let socket: Socket;
  try {
    socket = await dial('path' in listener ? { path: listener.path } : listener, timeoutMs, signal);
  } catch (problem) {
    return failed(`the listener of the forward: ${errorText(problem)}`);
  }
  try {
    const isClosed = closedSoFar(socket);
    const answer =
      'path' in forward.target
        ? await answered(socket, ping, left(), signal)
        : await openChannel({ control, target: forward.target, ping, path: '' }).open(left(), signal);
    if (answer.is === 'Silent') return unreachable(`${where}: ${answer.problem}`);
    if (answer.is === 'Refused')
      return unreachable(`${where} cannot be reached: ${refusal() ?? 'the server refused the channel'}`);
    if (await isClosed()) return unreachable(`${where}: the connection was closed at once`);
    return { ok: true, tookMs: performance.now() - started };
  } finally {
    socket.destroy();
  }
};

const unreachable = (detail: string): ProbeResult => ({ ok: false, reason: 'TargetUnreachable', detail });
const failed = (detail: string): ProbeResult => ({ ok: false, reason: 'ProbeFailed', detail });
