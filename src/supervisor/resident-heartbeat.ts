import type { JsonLog } from '../telemetry/json-log.ts';
import { type HeartbeatPlan, heartbeatPlan } from '../tunnel/heartbeat-plan.ts';
import { loggedIn } from './control-login.ts';
import type { ControlSocket } from './control-socket.ts';
import { type Heartbeat, lost } from './heartbeat.ts';
import { autoHeartbeat } from './heartbeat-auto.ts';
import { echoHeartbeat } from './heartbeat-echo.ts';
import { forwardHeartbeat } from './heartbeat-forward.ts';
import { loopHeartbeat } from './heartbeat-loop.ts';
import type { FarOptions } from './heartbeat-options.ts';
import { pingHeartbeat } from './heartbeat-ping.ts';
import type { Refusals } from './refusals.ts';
import type { ResidentConfig } from './resident-config.ts';
import { errorText } from './system-error.ts';

export type HeartbeatOptions = {
  readonly control: ControlSocket;
  readonly log: JsonLog;
  readonly expectNoise: (lines: number) => void;
  readonly refusals: Refusals;
};

/**
 * The heartbeat that the configuration asks for, on one connection. The configuration is asked at each beat: another method takes
 * over on the living connection, and nobody is dropped for it.
 */
export const residentHeartbeat = (config: () => ResidentConfig, options: HeartbeatOptions): Heartbeat => {
  const { control, log, expectNoise, refusals } = options;
  const far: FarOptions = {
    ...{ control, expectNoise, refusals },
    get message() {
      return config().message;
    },
    get timeoutMs() {
      return config().timeoutMs;
    },
    log: ({ level, text }) => log.line(level >= 7 ? 7 : level >= 5 ? 6 : 4, text),
  };
  let plan = heartbeatPlan(config().document);
  let inForce = make(plan, far, '');
  let swaps = 0;

  const swap = async (to: HeartbeatPlan, signal: AbortSignal): Promise<void> => {
    const old = inForce;
    plan = to;
    swaps++;
    inForce = make(to, far, `-${swaps}`);
    log.line(6, 'heartbeat: another method on the living connection', { method: to.method });
    await old.leave?.();
    old.close();
    await inForce.open(signal);
  };

  return {
    get method() {
      return inForce.method;
    },
    sshArgs: [],
    open: (signal) => inForce.open(signal),
    beat: async (signal) => {
      const wanted = heartbeatPlan(config().document);
      try {
        if (JSON.stringify(wanted) !== JSON.stringify(plan)) await swap(wanted, signal);
      } catch (problem) {
        return lost(errorText(problem));
      }
      return inForce.beat(signal);
    },
    close: () => inForce.close(),
  };
};

const make = (plan: HeartbeatPlan, options: FarOptions, tag: string): Heartbeat => {
  switch (plan.method) {
    case 'Auto':
      return autoHeartbeat(options, tag);
    case 'Loop':
      return loopHeartbeat(options, tag);
    case 'Echo':
      return echoHeartbeat(options, plan.port, tag);
    case 'Forward':
      return forwardHeartbeat(options, plan.target, tag);
    case 'Ping':
      return pingHeartbeat(options, tag);
    case 'None':
      return keepAlivesOnly(options.control);
  }
};

/** No beats: connected is who has logged in, and ssh's own keepalives are all that tells of a lost path. */
const keepAlivesOnly = (control: ControlSocket): Heartbeat => ({
  method: 'None',
  sshArgs: [],
  open: (signal) => loggedIn(control, signal),
  beat: async () => ({ ok: true, rttMs: null }),
  close: () => {},
});
