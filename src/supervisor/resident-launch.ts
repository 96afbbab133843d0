import { writeFileSync } from 'node:fs';
import type { JsonLog } from '../telemetry/json-log.ts';
import { sshCommand } from '../tunnel/ssh-args.ts';
import type { Env } from './child-env.ts';
import { type ControlSocket, createControlSocket } from './control-socket.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { Logins } from './login-files.ts';
import type { ResidentConfig } from './resident-config.ts';
import { residentHeartbeat } from './resident-heartbeat.ts';
import type { Launch, Unable } from './run-tunnel.ts';

/** One start of ssh: what was launched, and what can be asked of it while it lives. */
export type ResidentLaunch = Launch & { readonly control: ControlSocket };

export type LaunchOptions = {
  readonly logins: Logins;
  /** For ssh and its tools: a closed list (child-env.ts). */
  readonly env: Env;
  readonly log: JsonLog;
  readonly expectNoise: (lines: number) => void;
};

/** Makes the next ssh of a tunnel ready: its logins, its command line, its control socket and its heartbeat. Never rejects. */
export const launchResident = async (
  config: ResidentConfig,
  { logins, env, log, expectNoise }: LaunchOptions,
): Promise<ResidentLaunch | Unable> => {
  const prepared = await logins.prepare(config.document);
  if (!prepared.ok) return { unable: prepared.failure };
  try {
    const { argv, files, env: sshEnv } = sshCommand(config.document, prepared.places);
    for (const { path, content } of files) writeFileSync(path, content, { mode: 0o600 });
    const childEnv = { ...env, ...sshEnv };
    const control = createControlSocket('ssh', childEnv);
    const heartbeat = owning(control, residentHeartbeat(config, { control, log, expectNoise }));
    const hints = { AuthFailed: `offered ${prepared.offer}` };
    return { path: 'ssh', args: argv, env: childEnv, attached: false, control, heartbeat, hints };
  } catch (problem) {
    return { unable: { reason: 'BadConfiguration', detail: (problem as Error).message } };
  }
};

/** Every resident ssh has a control socket, whatever its heartbeat; it goes with its ssh. */
const owning = (control: ControlSocket, heartbeat: Heartbeat): Heartbeat => ({
  get method() {
    return heartbeat.method;
  },
  sshArgs: [...control.masterArgs, ...heartbeat.sshArgs],
  open: heartbeat.open,
  beat: heartbeat.beat,
  close: () => {
    heartbeat.close();
    control.remove();
  },
});
