import { writeFileSync } from 'node:fs';
import type { JsonLog } from '../telemetry/json-log.ts';
import { sshCommand } from '../tunnel/ssh-args.ts';
import { type ControlSocket, createControlSocket } from './control-socket.ts';
import { onControlSocket } from './heartbeat.ts';
import { prepareLogins } from './login-files.ts';
import type { Refusals } from './refusals.ts';
import type { ResidentConfig } from './resident-config.ts';
import { residentHeartbeat } from './resident-heartbeat.ts';
import type { Launch, Unable } from './run-tunnel.ts';

/** One start of ssh: what was launched, and what can be asked of it while it lives. */
export type ResidentLaunch = Launch & { readonly control: ControlSocket };

export type LaunchOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the volumes are mounted. */
  readonly root: string;
  /** Private directory for copies of keys and for ssh's configuration. */
  readonly dir: string;
  readonly log: JsonLog;
  readonly expectNoise: (lines: number) => void;
  /** Told of ssh's stderr by whoever reads it. */
  readonly refusals: Refusals;
  /** The configuration in force while this ssh lives: the heartbeat follows it. */
  readonly current: () => ResidentConfig;
};

/** Makes the next ssh of a tunnel ready: its logins, its command line, its control socket and its heartbeat. */
export const launchResident = (config: ResidentConfig, options: LaunchOptions): ResidentLaunch | Unable => {
  const { env, root, dir, log, expectNoise, refusals, current } = options;
  const logins = prepareLogins(config.document, dir, root);
  if (!logins.ok) return { unable: logins.failure };
  const { argv, files, env: sshEnv } = sshCommand(config.document, logins.places);
  for (const { path, content } of files) writeFileSync(path, content, { mode: 0o600 });
  const childEnv = { ...env, ...sshEnv, SSH_AUTH_SOCK: undefined };
  const control = createControlSocket('ssh', childEnv);
  const heartbeat = onControlSocket(control, residentHeartbeat(current, { control, log, expectNoise, refusals }));
  return { path: 'ssh', args: argv, env: childEnv, attached: false, control, heartbeat };
};
