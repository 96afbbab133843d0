import { join } from 'node:path';
import { beatText } from './beat-text.ts';
import { loggedIn } from './control-login.ts';
import { type Beat, type Heartbeat, lost, refused } from './heartbeat.ts';
import { judged } from './heartbeat-judged.ts';
import type { FarOptions } from './heartbeat-options.ts';
import { pingBeside } from './heartbeat-ping.ts';
import { dial, read } from './socket-io.ts';
import { errorText } from './system-error.ts';

/**
 * A text to an echo service beside the server, and back on the same connection: autossh's second design, by a private unix socket in
 * place of its fixed port. An echo service that does not answer while the server does is said, and ssh stays.
 */
export const echoHeartbeat = (options: FarOptions, port: number, tag = ''): Heartbeat => {
  const { control, patience } = options;
  const out = join(control.dir, `echo-out${tag}`);
  const way = ['-L', `${out}:127.0.0.1:${port}`];
  const service = `the echo service at 127.0.0.1:${port} of the server`;
  const silence = (ms: number) => `${service} did not answer within ${ms} ms`;
  const ping = pingBeside(options, tag);
  let isOpen = false;

  const add = async (signal: AbortSignal): Promise<string | null> => {
    const added = await control.forward(way, options.timeoutMs, signal);
    isOpen = added.ok;
    return added.ok ? null : added.problem;
  };

  const ask = async (timeoutMs: number, signal: AbortSignal): Promise<Beat> => {
    const started = performance.now();
    const text = beatText(options.message);
    const refusal = options.refusals.watch();
    options.expectNoise(1);
    try {
      const socket = await dial({ path: out }, timeoutMs, signal);
      socket.write(text);
      const came = await read(socket, text.length, timeoutMs, signal).finally(() => socket.destroy());
      if (came.length > 0) options.expectNoise(0);
      if (came.equals(text)) return { ok: true, rttMs: performance.now() - started };
      if (came.length > 0) return refused('TargetUnreachable', `${service} answered with other bytes than it was sent`);
      return refused('TargetUnreachable', `${service} closed the connection: ${refusal() ?? 'no answer'}`);
    } catch (problem) {
      return lost(errorText(problem));
    }
  };

  return {
    method: 'Echo',
    sshArgs: [],
    open: async (signal) => {
      await loggedIn(control, signal);
      await add(signal);
    },
    beat: async (signal) => {
      const problem = isOpen ? null : await add(signal);
      if (problem !== null) return lost(problem);
      return judged(ask, { ping: ping.within, patience, silence }, signal);
    },
    leave: async (signal) => {
      await control.cancel(way, options.timeoutMs, signal);
      await ping.leave?.(signal);
    },
    close: () => ping.close(),
  };
};
