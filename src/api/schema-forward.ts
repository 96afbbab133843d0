import * as z from 'zod';
import { DEFAULTS } from './defaults.ts';
import { ruled } from './rule.ts';
import { envName, forwardName, host, httpPath, listenHost, port, socketPath } from './text.ts';

type Place = { host?: string | undefined; port?: number | undefined; path?: string | undefined };

const PORT_OR_PATH = [
  {
    cel: 'has(self.port) != has(self.path)',
    message: 'expected exactly one of port, path',
    holds: (place: Place) => (place.port === undefined) !== (place.path === undefined),
  },
  {
    cel: '!has(self.path) || !has(self.host)',
    message: 'host may be set only beside port',
    holds: (place: Place) => place.path === undefined || place.host === undefined,
    reason: 'FieldValueForbidden',
  },
] as const;

const listen = (hostText: string) =>
  ruled(
    z.strictObject({
      host: listenHost().optional().describe(hostText),
      port: port().optional().describe('Port to listen on, 1-65535.'),
      path: socketPath().optional().describe('Unix socket to listen on, instead of host and port.'),
    }),
    PORT_OR_PATH,
  ).describe('Where connections are accepted.');

const target = (seenFrom: string) =>
  ruled(
    z.strictObject({
      host: host().optional().describe(`Host to connect to, as seen from ${seenFrom}. Default: localhost.`),
      port: port().optional().describe('Port to connect to, 1-65535.'),
      path: socketPath().optional().describe('Unix socket to connect to, instead of host and port.'),
    }),
    PORT_OR_PATH,
  ).describe('Where accepted connections are led to.');

const HERE = 'Address to listen on. Default: 127.0.0.1 in a sidecar, all addresses in a gateway.';
const THERE =
  'Address to listen on, at the SSH server. Default: localhost, in a gateway too; other addresses need GatewayPorts there.';

const probe = () =>
  ruled(
    z.strictObject({
      tcp: z.strictObject({}).optional().describe('Connect through the forward: it must not be closed at once.'),
      http: z
        .strictObject({
          path: httpPath().default(DEFAULTS.probe.path).describe('Path to GET, over plain HTTP. Default: /.'),
          host: host().optional().describe('Host header. Default: the host of the target.'),
          expectedStatuses: z
            .array(z.int().min(100).max(599))
            .max(16)
            .default([])
            .meta({ 'x-kubernetes-list-type': 'atomic' })
            .describe('Statuses that count as success. Default: 200-399.'),
        })
        .optional()
        .describe('GET through the forward and look at the status.'),
      periodSeconds: z
        .int()
        .min(1)
        .max(3600)
        .default(DEFAULTS.probe.periodSeconds)
        .describe(`Seconds between probes. Default: ${DEFAULTS.probe.periodSeconds}.`),
      timeoutSeconds: z
        .int()
        .min(1)
        .max(300)
        .default(DEFAULTS.probe.timeoutSeconds)
        .describe(`Seconds until a probe has failed. Default: ${DEFAULTS.probe.timeoutSeconds}.`),
    }),
    [
      {
        cel: 'has(self.tcp) != has(self.http)',
        message: 'expected exactly one of tcp, http',
        holds: (value) => (value.tcp === undefined) !== (value.http === undefined),
      },
    ],
  ).describe('Whether the target answers, shown as up or down of this forward; it never ends a connection.');

const env = () =>
  ruled(
    z.strictObject({
      hostVar: envName().optional().describe('Variable that gets the host to connect to.'),
      portVar: envName().optional().describe('Variable that gets the port.'),
    }),
    [
      {
        cel: '!has(self.hostVar) || !has(self.portVar) || self.hostVar != self.portVar',
        message: 'hostVar and portVar may not be the same variable',
        holds: ({ hostVar, portVar }) => hostVar === undefined || hostVar !== portVar,
      },
    ],
  ).describe('Environment variables that are set in the containers of the app (mode Sidecar).');

export const forward = () =>
  ruled(
    z.strictObject({
      name: forwardName().describe(
        'Name of the forward, unique in the tunnel: shown in status and metrics. At most 40 characters, 15 in a gateway, whose Service has a port of this name.',
      ),
      local: z
        .strictObject({ listen: listen(HERE), target: target('the SSH server') })
        .optional()
        .describe('From here to there (ssh -L): listens beside the app, connects from the SSH server.'),
      remote: z
        .strictObject({ listen: listen(THERE), target: target('the pod') })
        .optional()
        .describe('From there to here (ssh -R): listens at the SSH server, connects from the pod.'),
      dynamic: z
        .strictObject({ listen: listen(HERE) })
        .optional()
        .describe('A SOCKS proxy here (ssh -D): connects from the SSH server to whatever is asked for.'),
      env: env().optional(),
      probe: probe().optional(),
    }),
    [
      {
        cel: '[has(self.local), has(self.remote), has(self.dynamic)].filter(given, given).size() == 1',
        message: 'expected exactly one of local, remote, dynamic',
        holds: ({ local, remote, dynamic }) => [local, remote, dynamic].filter((one) => one !== undefined).length === 1,
      },
      {
        cel: '!has(self.env) || (has(self.local) && has(self.local.listen.port)) || (has(self.dynamic) && has(self.dynamic.listen.port))',
        message: 'env may be set only for a local or dynamic forward that listens on a port',
        holds: ({ env, local, dynamic }) =>
          env === undefined || local?.listen.port !== undefined || dynamic?.listen.port !== undefined,
        reason: 'FieldValueForbidden',
        member: 'env',
      },
      {
        cel: '!has(self.probe) || has(self.local)',
        message: 'probe may be set only for a local forward',
        holds: ({ probe, local }) => probe === undefined || local !== undefined,
        reason: 'FieldValueForbidden',
        member: 'probe',
      },
      {
        cel: '!has(self.dynamic) || !has(self.dynamic.listen.path)',
        message: 'a dynamic forward listens on a port: ssh has no SOCKS proxy on a unix socket',
        holds: ({ dynamic }) => dynamic?.listen.path === undefined,
        reason: 'FieldValueForbidden',
        member: 'dynamic',
      },
    ],
  );
export type Forward = z.output<ReturnType<typeof forward>>;
