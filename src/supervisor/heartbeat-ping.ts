import { join } from 'node:path';
import { debug } from '../tunnel/log-line.ts';
import { loggedIn } from './control-login.ts';
import { type Beat, type Heartbeat, lost } from './heartbeat.ts';
import type { ChannelOptions, FarOptions } from './heartbeat-options.ts';
import { LONGEST_BEAT_MS } from './heartbeat-patient.ts';
import { dial, inTime, read, whyNoAnswer } from './socket-io.ts';

/** A ping that may also be asked for beside another heartbeat, with a time of its own. */
export type PingHeartbeat = Heartbeat & {
  readonly within: (timeoutMs: number, signal: AbortSignal) => Promise<Beat>;
};

/** A port that no server serves: opening a channel to it brings the server's refusal, and with it the proof that it lives. */
const REFUSED_PORT = 1;

/**
 * A channel that the server must refuse. Its refusal takes a round trip like any answer, and no server can forbid it, not even with
 * DisableForwarding: the listener is our own.
 */
export const pingHeartbeat = (options: ChannelOptions, tag = ''): PingHeartbeat => {
  const { control, log } = options;
  const out = join(control.dir, `ping${tag}`);
  const way = ['-L', `${out}:127.0.0.1:${REFUSED_PORT}`];
  let isOpen = false;

  const missed = (detail: string): Beat => {
    log(debug(`heartbeat: ${detail}`));
    return lost(detail);
  };

  /** Asks ssh alone, not the server. */
  const add = async (signal: AbortSignal): Promise<string | null> => {
    const added = await control.forward(way, options.timeoutMs, signal);
    isOpen = added.ok;
    return added.ok ? null : added.problem;
  };

  const within = async (timeoutMs: number, signal: AbortSignal): Promise<Beat> => {
    const problem = isOpen ? null : await add(signal);
    if (problem !== null) return missed(problem);
    const started = performance.now();
    options.expectNoise(1);
    try {
      const socket = await dial({ path: out }, timeoutMs, signal);
      await read(socket, 1, timeoutMs, signal).finally(() => socket.destroy());
      return { ok: true, rttMs: performance.now() - started };
    } catch (problem) {
      return missed(whyNoAnswer(problem, timeoutMs));
    }
  };

  return {
    method: 'Ping',
    sshArgs: [],
    open: async (signal) => {
      await loggedIn(control, signal);
      await add(signal);
    },
    beat: (signal) => within(options.timeoutMs, signal),
    within,
    leave: async (signal) => {
      if (isOpen) await control.cancel(way, options.timeoutMs, signal);
    },
    close: () => {},
  };
};

/** For what goes on although nobody waits for it any more. */
const NOBODY = new AbortController().signal;

/**
 * A ping for another heartbeat. One that nobody waits for any more goes on until its answer, since the line that ssh writes of it comes
 * with that: only then is it known to be none of the user's.
 */
export const pingBeside = (options: FarOptions, tag: string): PingHeartbeat => {
  const { control, log, message } = options;
  const ping = pingHeartbeat(
    {
      ...{ control, log, message, expectNoise: () => {} },
      get timeoutMs() {
        return options.timeoutMs;
      },
    },
    tag,
  );
  const within = async (timeoutMs: number, signal: AbortSignal): Promise<Beat> => {
    const beat = ping.within(LONGEST_BEAT_MS, NOBODY).finally(options.muffle(1));
    return inTime(beat, timeoutMs, signal).catch((problem: unknown) => lost(whyNoAnswer(problem, timeoutMs)));
  };
  return { ...ping, beat: (signal) => within(options.timeoutMs, signal), within };
};
