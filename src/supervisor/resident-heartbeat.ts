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
import { LONGEST_BEAT_MS, type PatientOptions, patientHeartbeat, patiently } from './heartbeat-patient.ts';
import { pingHeartbeat } from './heartbeat-ping.ts';
import type { Refusals } from './refusals.ts';
import type { ResidentConfig } from './resident-config.ts';
import { errorText } from './system-error.ts';

export type HeartbeatOptions = {
  readonly control: ControlSocket;
  readonly log: JsonLog;
  readonly expectNoise: (lines: number) => void;
  readonly muffle: (lines: number) => () => void;
  readonly refusals: Refusals;
  /** Of the connection: what it moves, and who is told when a beat is waited for because it does. */
  readonly traffic: Pick<PatientOptions, 'glance' | 'onSlow'>;
};

/**
 * The heartbeat that the configuration asks for, on one connection. The configuration is asked at each beat: another method takes
 * over on the living connection, and nobody is dropped for it.
 */
export const residentHeartbeat = (config: () => ResidentConfig, options: HeartbeatOptions): Heartbeat => {
  const { control, log, expectNoise, muffle, refusals, traffic } = options;
  const patience: PatientOptions = {
    get timeoutMs() {
      return config().timeoutMs;
    },
    ...traffic,
  };
  const farWith = (timeoutMs: () => number): FarOptions => ({
    ...{ control, expectNoise, muffle, refusals, patience },
    get message() {
      return config().message;
    },
    get timeoutMs() {
      return timeoutMs();
    },
    log: ({ level, text }) => log.line(level >= 7 ? 7 : level >= 5 ? 6 : 4, text),
  });
  const far = farWith(() => config().timeoutMs);
  const unhurried = farWith(() => LONGEST_BEAT_MS);
  const make = (plan: HeartbeatPlan, tag: string): Heartbeat => {
    switch (plan.method) {
      case 'Auto':
        return patientHeartbeat(autoHeartbeat(unhurried, tag), patience);
      case 'Loop':
        return patientHeartbeat(loopHeartbeat(unhurried, tag), patience);
      case 'Ping':
        return patientHeartbeat(pingHeartbeat(unhurried, tag), patience);
      // These two ask for more than the server, and have to tell which of the two is silent (heartbeat-judged.ts).
      case 'Echo':
        return echoHeartbeat(far, plan.port, tag);
      case 'Forward':
        return forwardHeartbeat(far, plan.target, tag);
      case 'None':
        return keepAlivesOnly(control);
    }
  };
  let plan = heartbeatPlan(config().document);
  let inForce = make(plan, '');
  let swaps = 0;
  /** The method in force took over on the living connection, and is not ready yet. */
  let opening = false;

  /** The method that the configuration asks for is ready to beat; false where the connection gave no answer in time. */
  const follow = async (signal: AbortSignal): Promise<boolean> => {
    const wanted = heartbeatPlan(config().document);
    const changed = JSON.stringify(wanted) !== JSON.stringify(plan);
    if (!changed && !opening) return true;
    const old = changed ? inForce : null;
    if (changed) {
      plan = wanted;
      swaps++;
      inForce = make(wanted, `-${swaps}`);
      opening = true;
      log.line(6, 'heartbeat: another method on the living connection', { method: wanted.method });
    }
    const ready = await patiently(
      async (enough) => {
        await old?.leave?.(enough);
        old?.close();
        enough.throwIfAborted();
        await inForce.open(enough);
        opening = false;
        return true;
      },
      signal,
      patience,
    );
    return ready !== null;
  };

  return {
    get method() {
      return inForce.method;
    },
    sshArgs: [],
    open: (signal) => inForce.open(signal),
    beat: async (signal) => {
      try {
        if (!(await follow(signal))) return lost(`no answer within ${config().timeoutMs} ms`);
      } catch (problem) {
        return lost(errorText(problem));
      }
      return inForce.beat(signal);
    },
    close: () => inForce.close(),
  };
};

/** No beats: connected is who has logged in, and ssh's own keepalives are all that tells of a lost path. */
const keepAlivesOnly = (control: ControlSocket): Heartbeat => ({
  method: 'None',
  sshArgs: [],
  open: (signal) => loggedIn(control, signal),
  beat: async () => ({ ok: true, rttMs: null }),
  close: () => {},
});
