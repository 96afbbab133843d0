import * as z from 'zod';
import { DEFAULTS } from './defaults.ts';
import { HEARTBEAT_METHODS } from './heartbeat-methods.ts';
import { RESIDENT_ENV, RESIDENT_ENV_NAMES, type ResidentEnvName, residentEnvProblem } from './resident-env.ts';
import { type Rule, ruled } from './rule.ts';
import { forwardName, objectName, port } from './text.ts';

const seconds = (min: number, max: number) => z.int().min(min).max(max);

type HeartbeatWords = { method: string; forward?: string | undefined; echoPort?: number | undefined };

export const heartbeat = () =>
  ruled(
    z.strictObject({
      method: z
        .enum(HEARTBEAT_METHODS)
        .default(DEFAULTS.heartbeat.method)
        .describe(
          'How it is proven that bytes go round. Auto: Loop, or Ping where the server forbids it. Loop: out and back through the server. Echo: an echo service of the server. Forward: a channel to the target of a forward. Ping: a channel that the server must refuse. None: only the keepalives of ssh. Default: Auto.',
        ),
      // No default here: AUTOSSH_POLL counts where nobody wrote a period.
      periodSeconds: seconds(1, 3600)
        .optional()
        .describe(`Seconds between heartbeats. Default: AUTOSSH_POLL, else ${DEFAULTS.heartbeat.periodSeconds}.`),
      timeoutSeconds: seconds(1, 300)
        .default(DEFAULTS.heartbeat.timeoutSeconds)
        .describe(
          `Seconds until a heartbeat has failed; while other bytes flow on the connection its late answer is waited for. Default: ${DEFAULTS.heartbeat.timeoutSeconds}.`,
        ),
      failureThreshold: z
        .int()
        .min(1)
        .max(100)
        .default(DEFAULTS.heartbeat.failureThreshold)
        .describe(
          `Failed heartbeats in a row that end the connection. Default: ${DEFAULTS.heartbeat.failureThreshold}.`,
        ),
      livenessDeadlineSeconds: seconds(0, 86400)
        .default(DEFAULTS.heartbeat.livenessDeadlineSeconds)
        .describe(
          'Seconds without any successful heartbeat after which the liveness probe fails, so that the kubelet restarts the container; 0 is never, since a restart mends no network. Default: 0.',
        ),
      forward: forwardName().optional().describe('Name of the local forward whose target is used; for method Forward.'),
      echoPort: port().optional().describe('Port of the echo service on the server; for method Echo.'),
    }),
    [
      {
        cel: "(self.method == 'Forward') == has(self.forward)",
        message: 'forward is required for method Forward, and allowed for no other',
        holds: ({ method, forward }: HeartbeatWords) => (method === 'Forward') === (forward !== undefined),
      },
      {
        cel: "(self.method == 'Echo') == has(self.echoPort)",
        message: 'echoPort is required for method Echo, and allowed for no other',
        holds: ({ method, echoPort }: HeartbeatWords) => (method === 'Echo') === (echoPort !== undefined),
      },
    ],
  )
    .prefault({})
    .describe('The proof of life. Health means that bytes went round through the tunnel.');

export const retry = () =>
  z
    .strictObject({
      networkMaxSeconds: seconds(1, 3600)
        .default(DEFAULTS.retry.networkMaxSeconds)
        .describe(
          `Longest pause, in seconds, after failures of network and DNS. Default: ${DEFAULTS.retry.networkMaxSeconds}.`,
        ),
      remotePortBusySeconds: seconds(1, 3600)
        .default(DEFAULTS.retry.remotePortBusySeconds)
        .describe(
          `Pause, in seconds, while a port of a forward is taken. Default: ${DEFAULTS.retry.remotePortBusySeconds}.`,
        ),
      authMaxSeconds: seconds(1, 86400)
        .default(DEFAULTS.retry.authMaxSeconds)
        .describe(
          `Longest pause, in seconds, after refused keys, wrong host keys and a server that turns connections away. Default: ${DEFAULTS.retry.authMaxSeconds}.`,
        ),
    })
    .prefault({})
    .describe('How long to wait between attempts. It is never given up.');

type EnvMap = Record<string, string>;

/** One rule per variable: each says what that variable takes. */
const envRule = (name: ResidentEnvName): Rule<EnvMap> => ({
  member: name,
  cel: `!('${name}' in self) || self['${name}'].matches(r'${RESIDENT_ENV[name].pattern}')`,
  message: `${name}: expected ${RESIDENT_ENV[name].expected}`,
  holds: (env) => env[name] === undefined || residentEnvProblem(name, env[name]) === null,
});

export const env = () =>
  ruled(z.record(z.string(), z.string().max(64)).meta({ maxProperties: 16 }), [
    {
      cel: "!('AUTOSSH_PATH' in self) && !('AUTOSSH_MAXSTART' in self)",
      message:
        'AUTOSSH_PATH and AUTOSSH_MAXSTART may not be set: the ssh is that of the image, and it is never given up',
      holds: (env) => env['AUTOSSH_PATH'] === undefined && env['AUTOSSH_MAXSTART'] === undefined,
      reason: 'FieldValueForbidden',
    },
    {
      cel: `self.all(name, name in ['AUTOSSH_PATH', 'AUTOSSH_MAXSTART', ${RESIDENT_ENV_NAMES.map((name) => `'${name}'`).join(', ')}])`,
      message: `expected only variables of the closed list: ${RESIDENT_ENV_NAMES.join(', ')}`,
      holds: (env) =>
        Object.keys(env).every(
          (name) => ['AUTOSSH_PATH', 'AUTOSSH_MAXSTART'].includes(name) || Object.hasOwn(RESIDENT_ENV, name),
        ),
      reason: 'FieldValueForbidden',
    },
    ...RESIDENT_ENV_NAMES.map(envRule),
  ])
    .default({})
    .describe(
      `Settings of the classic autossh. ${RESIDENT_ENV_NAMES.map((name) => `${name}: ${RESIDENT_ENV[name].help}`).join(' ')} What the specification sets in its own fields wins; envFrom loses.`,
    );

const envSource = (kind: string) =>
  z.strictObject({ name: objectName().describe(`Name of the ${kind}.`) }).describe(`${kind} of the same namespace.`);

export const envFrom = () =>
  z
    .array(
      ruled(
        z.strictObject({
          configMapRef: envSource('ConfigMap').optional(),
          secretRef: envSource('Secret').optional(),
        }),
        [
          {
            cel: 'has(self.configMapRef) != has(self.secretRef)',
            message: 'expected exactly one of configMapRef, secretRef',
            holds: ({ configMapRef, secretRef }) => (configMapRef === undefined) !== (secretRef === undefined),
          },
        ],
      ),
    )
    .max(8)
    .default([])
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe(
      'ConfigMaps and Secrets whose AUTOSSH_* of the closed list (see env) count too; of two that set the same, the later wins. They may be missing; their other keys are never read. At most 8.',
    );
