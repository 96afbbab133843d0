import { writeFileSync } from 'node:fs';
import type { DocumentForward } from '../api/document.ts';
import type { JsonLog } from '../telemetry/json-log.ts';
import { sshCommand } from '../tunnel/ssh-args.ts';
import type { Env } from './child-env.ts';
import { loggedIn } from './control-login.ts';
import { type ControlSocket, createControlSocket } from './control-socket.ts';
import { onControlSocket } from './heartbeat.ts';
import type { Logins } from './login-files.ts';
import type { Refusals } from './refusals.ts';
import type { ResidentConfig } from './resident-config.ts';
import { type HeartbeatOptions, residentHeartbeat } from './resident-heartbeat.ts';
import type { Launch, Unable } from './run-tunnel.ts';

/** One start of ssh: what was launched, and what can be asked of it while it lives. */
export type ResidentLaunch = Launch & { readonly control: ControlSocket };

export type LaunchOptions = {
  readonly logins: Logins;
  /** For ssh and its tools: a closed list (child-env.ts). */
  readonly env: Env;
  /** Those that ssh starts with. */
  readonly forwards: readonly DocumentForward[];
  readonly log: JsonLog;
  readonly expectNoise: HeartbeatOptions['expectNoise'];
  readonly muffle: HeartbeatOptions['muffle'];
  /** Told of ssh's stderr by whoever reads it. */
  readonly refusals: Refusals;
  readonly traffic: HeartbeatOptions['traffic'];
};

/**
 * Makes the next ssh of a tunnel ready: its logins, its command line, its control socket and its heartbeat, which follows the
 * configuration while this ssh lives. Never rejects.
 */
export const launchResident = async (
  config: () => ResidentConfig,
  { logins, env, log, forwards, expectNoise, muffle, refusals, traffic }: LaunchOptions,
): Promise<ResidentLaunch | Unable> => {
  const document = { ...config().document, forwards: [...forwards] };
  const prepared = await logins.prepare(document);
  if (!prepared.ok) return { unable: prepared.failure };
  try {
    const { argv, files, env: sshEnv } = sshCommand(document, prepared.places);
    for (const { path, content } of files) writeFileSync(path, content, { mode: 0o600 });
    const childEnv = { ...env, ...sshEnv };
    const control = createControlSocket('ssh', childEnv);
    const heartbeat = residentHeartbeat(config, { control, log, expectNoise, muffle, refusals, traffic });
    const hints = { AuthFailed: `offered ${prepared.offer}` };
    return {
      path: 'ssh',
      args: argv,
      env: childEnv,
      attached: false,
      control,
      heartbeat: onControlSocket(control, heartbeat),
      loggedIn: (signal) => loggedIn(control, signal),
      hints,
    };
  } catch (problem) {
    return { unable: { reason: 'BadConfiguration', detail: (problem as Error).message } };
  }
};
