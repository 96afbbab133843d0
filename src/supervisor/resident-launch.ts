import { writeFileSync } from 'node:fs';
import type { DocumentForward } from '../api/document.ts';
import type { JsonLog } from '../telemetry/json-log.ts';
import { sshCommand } from '../tunnel/ssh-args.ts';
import { type ControlSocket, createControlSocket } from './control-socket.ts';
import type { Heartbeat } from './heartbeat.ts';
import { prepareLogins } from './login-files.ts';
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
  /** Those that ssh starts with. */
  readonly forwards: readonly DocumentForward[];
  readonly log: JsonLog;
  readonly expectNoise: (lines: number) => void;
};

/** Makes the next ssh of a tunnel ready: its logins, its command line, its control socket and its heartbeat. */
export const launchResident = (config: () => ResidentConfig, options: LaunchOptions): ResidentLaunch | Unable => {
  const { env, root, dir, log, expectNoise } = options;
  const document = { ...config().document, forwards: [...options.forwards] };
  const logins = prepareLogins(document, dir, root);
  if (!logins.ok) return { unable: logins.failure };
  const { argv, files, env: sshEnv } = sshCommand(document, logins.places);
  for (const { path, content } of files) writeFileSync(path, content, { mode: 0o600 });
  const childEnv = { ...env, ...sshEnv, SSH_AUTH_SOCK: undefined };
  const control = createControlSocket('ssh', childEnv);
  const heartbeat = residentHeartbeat(config, { control, log, expectNoise });
  return { path: 'ssh', args: argv, env: childEnv, attached: false, control, heartbeat: owning(control, heartbeat) };
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
