import { info } from '../tunnel/log-line.ts';
import type { Beat, Heartbeat } from './heartbeat.ts';
import { loopHeartbeat } from './heartbeat-loop.ts';
import type { ChannelOptions } from './heartbeat-options.ts';
import { pingHeartbeat } from './heartbeat-ping.ts';

/**
 * The heartbeat for any server: a loop, which proves that bytes go round, and on a server that refuses it a ping. The method in force
 * is known with the first beat and stays for as long as the connection.
 */
export const autoHeartbeat = (options: ChannelOptions, tag = ''): Heartbeat => {
  const loop = loopHeartbeat(options, tag);
  let inForce: Heartbeat = loop;

  /** From one method to the other it goes once, even if both the opening and a beat have learned of the refusal. */
  let change: Promise<void> | null = null;
  const pingInstead = (why: string, signal: AbortSignal): Promise<void> => {
    change ??= toPing(why, signal).finally(() => {
      change = null;
    });
    return change;
  };
  const toPing = async (why: string, signal: AbortSignal): Promise<void> => {
    options.log(info(`heartbeat: the server allows no loop (${why}); using a channel that it must refuse`));
    const ping = pingHeartbeat(options, tag);
    await loop.leave?.(signal);
    loop.close();
    await ping.open(signal);
    inForce = ping;
  };

  return {
    get method() {
      return inForce.method;
    },
    sshArgs: [],
    open: async (signal) => {
      await loop.open(signal);
      const why = loop.refusal();
      if (why !== null) await pingInstead(why, signal);
    },
    beat: async (signal): Promise<Beat> => {
      const by = inForce;
      const beat = await by.beat(signal);
      const why = by === loop && !beat.ok && beat.serverAnswered ? loop.refusal() : null;
      if (why === null) return beat;
      try {
        // The opening may have seen to it meanwhile.
        if (inForce === loop) await pingInstead(why, signal);
      } catch {
        return beat;
      }
      return inForce.beat(signal);
    },
    leave: async (signal) => inForce.leave?.(signal),
    close: () => inForce.close(),
  };
};
