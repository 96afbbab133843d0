import { join } from 'node:path';
import type { Endpoint } from '../api/document.ts';
import { endpointText } from '../tunnel/ssh-args.ts';
import { loggedIn } from './control-login.ts';
import { type Beat, type Heartbeat, lost, refused } from './heartbeat.ts';
import { judged, type Proof } from './heartbeat-judged.ts';
import type { FarOptions } from './heartbeat-options.ts';
import { pingBeside } from './heartbeat-ping.ts';
import { openChannel } from './open-channel.ts';

/**
 * A channel to the target of a forward, which is what the app itself uses: the target has to accept a connection, which is closed at
 * once. A target that does not, while the server answers, is said, and ssh stays: another one would not bring the target back.
 */
export const forwardHeartbeat = (options: FarOptions, target: Endpoint, tag = ''): Heartbeat => {
  const { control, refusals, patience } = options;
  const where = `the target ${endpointText(target)}`;
  const silence = (ms: number) => `${where}: no answer within ${ms} ms`;
  const ping = pingBeside(options, tag);
  const channel = openChannel({ control, target, ping: ping.within, path: join(control.dir, `target${tag}`) });

  const ask: Proof = async (timeoutMs, signal): Promise<Beat> => {
    const started = performance.now();
    const refusal = refusals.watch();
    options.expectNoise(1);
    const answer = await channel.open(timeoutMs, signal);
    if (answer.is !== 'Refused') options.expectNoise(0);
    if (answer.is === 'Opened') return { ok: true, rttMs: performance.now() - started };
    if (answer.is === 'Refused')
      return refused(
        'TargetUnreachable',
        `${where} cannot be reached: ${refusal() ?? 'the server refused the channel'}`,
      );
    return lost(`${where}: ${answer.problem}`);
  };

  return {
    method: 'Forward',
    sshArgs: [],
    open: async (signal) => loggedIn(control, signal),
    beat: (signal) => judged(ask, { ping: ping.within, patience, silence }, signal),
    leave: async (signal) => {
      await channel.leave(options.timeoutMs, signal);
      await ping.leave?.(signal);
    },
    close: () => ping.close(),
  };
};
