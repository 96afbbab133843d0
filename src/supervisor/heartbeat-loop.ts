import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { debug } from '../tunnel/log-line.ts';
import { loggedIn } from './control-login.ts';
import { type Beat, type Heartbeat, lost, refused } from './heartbeat.ts';
import type { ChannelOptions } from './heartbeat-options.ts';
import { pingHeartbeat } from './heartbeat-ping.ts';
import { awaitBack, comesBack, listenForBack } from './loop-back.ts';
import { dial, inTime, whyNoAnswer } from './socket-io.ts';

/** A loop, and why the server allows none (null: it has not refused). */
export type LoopHeartbeat = Heartbeat & { readonly refusal: () => string | null };

/** What a client of the control socket says when ssh was refused a forward. */
const REFUSED = /forwarding request failed/;

/**
 * Out through the server and back, by ways that nothing can collide with. Both are added to the living connection over ssh's control
 * socket: a port that the server chooses, back to a private unix socket of ours, and another unix socket out to that port. Where the
 * server allows no remote forward, or no connection to its own port, beats are refused, each anew. `tag` keeps the sockets of two
 * heartbeats on one connection apart.
 */
export const loopHeartbeat = (options: ChannelOptions, tag = ''): LoopHeartbeat => {
  const { control, log } = options;
  const out = join(control.dir, `out${tag}`);
  const echo = join(control.dir, `echo${tag}`);
  const wayBack = ['-R', `127.0.0.1:0:${echo}`];
  /** The ways that stand: back, then out. */
  const ways: string[][] = [];
  let server: Server | null = null;
  let proven = false;
  let refusal: string | null = null;
  /** The first set-up, while it is under way. */
  let opening: Promise<Beat | null> | null = null;

  /** 1.4g says only that the port is down; what this heartbeat saw is worth a line of its own. */
  const missed = (detail: string): Beat => {
    log(debug(`heartbeat: ${detail}`));
    return lost(detail);
  };

  /** Adds both ways; null when they stand. */
  const setUp = async (signal: AbortSignal): Promise<Beat | null> => {
    options.expectNoise(2);
    ways.length = 0;
    const port = await control.forward(wayBack, options.timeoutMs, signal);
    if (!port.ok && REFUSED.test(port.problem)) {
      refusal = port.problem;
      return refused('RemoteForwardFailed', `the server allows no loop: ${port.problem}`);
    }
    options.expectNoise(0);
    if (!port.ok) return missed(port.problem);
    if (!/^\d+$/.test(port.output))
      return missed(`expected a port number from ssh, got ${JSON.stringify(port.output)}`);
    ways.push(wayBack);
    const way = ['-L', `${out}:127.0.0.1:${port.output}`];
    const added = await control.forward(way, options.timeoutMs, signal);
    if (!added.ok) return missed(added.problem);
    ways.push(way);
    log(debug(`heartbeat: loop through port ${port.output} of the server`));
    return null;
  };

  /**
   * Until the server has answered for every remote forward of ssh's command line: it answers in order, so a refusal that is asked for now
   * comes after them. One that is added sooner has ssh read their names from memory that it has freed (OpenSSH 9.2,
   * ssh_confirm_remote_forward): it would end for, or warn of, a port that nobody asked for.
   */
  const allAnswered = async (signal: AbortSignal): Promise<void> => {
    const ping = pingHeartbeat(options, `${tag}-first`);
    await ping.beat(signal);
    await ping.leave?.(signal);
  };

  /** A beat that is due before the ways stand waits for them: to ask a second time would be too soon, and give two of each. */
  const soon = (answer: Promise<Beat | null>, signal: AbortSignal): Promise<Beat | null> =>
    inTime(answer, options.timeoutMs, signal).catch((problem: unknown) =>
      missed(whyNoAnswer(problem, options.timeoutMs)),
    );

  const goRound = async (through: Server, signal: AbortSignal): Promise<Beat> => {
    const { timeoutMs } = options;
    const started = performance.now();
    options.expectNoise(proven ? 0 : 1);
    // From before the way out is opened: the way back may be here before we know that it is.
    const back = awaitBack(through, options, signal);
    let socket: Socket | null = null;
    try {
      socket = await dial({ path: out }, timeoutMs, signal);
      if (await comesBack(socket, back, timeoutMs, signal)) {
        proven = true;
        return { ok: true, rttMs: performance.now() - started };
      }
      // A way that has worked is not forbidden: something else is wrong with it.
      if (proven) return missed('the server closed the channel of the heartbeat');
      refusal = 'the server refuses connections to its own port';
      return refused('TargetUnreachable', `the server allows no loop: ${refusal}`);
    } catch (problem) {
      return missed(whyNoAnswer(problem, timeoutMs));
    } finally {
      socket?.destroy();
      back.close();
    }
  };

  return {
    method: 'Loop',
    sshArgs: [],
    refusal: () => refusal,
    open: async (signal) => {
      await loggedIn(control, signal);
      server ??= await listenForBack(echo);
      opening = allAnswered(signal).then(() => setUp(signal));
      try {
        await opening;
      } finally {
        opening = null;
      }
    },
    beat: async (signal) => {
      if (server === null) return missed('ssh is not connected');
      const problem = opening !== null ? await soon(opening, signal) : ways.length < 2 ? await setUp(signal) : null;
      return problem ?? goRound(server, signal);
    },
    leave: async (signal) => {
      for (const way of ways.splice(0)) await control.cancel(way, options.timeoutMs, signal);
    },
    close: () => {
      server?.close();
      server = null;
    },
  };
};
