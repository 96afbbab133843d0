import * as z from 'zod';
import { DEFAULTS } from './defaults.ts';
import { API_VERSION, KIND, MAX_TUNNEL_NAME } from './names.ts';
import { ruled, VALIDATIONS } from './rule.ts';
import { forward } from './schema-forward.ts';
import { gateway, sidecar, workloads } from './schema-pods.ts';
import { ssh } from './schema-ssh.ts';
import { env, envFrom, heartbeat, retry } from './schema-workings.ts';
import { SPEC_RULES } from './spec-rules.ts';
import { statusSchema } from './status.ts';

export const MAX_FORWARDS = 32;

/** Specification of an SshTunnel: every field, its bounds, its default and its help. */
export const specSchema = ruled(
  z.strictObject({
    mode: z
      .enum(['Sidecar', 'Gateway'])
      .default(DEFAULTS.mode)
      .meta({
        [VALIDATIONS]: [{ rule: 'self == oldSelf', message: 'mode is immutable: delete the tunnel and make it anew' }],
      })
      .describe(
        'Sidecar: a container in each pod that asks for the tunnel. Gateway: a Deployment and a Service for all. Immutable. Default: Sidecar.',
      ),
    suspend: z
      .boolean()
      .default(DEFAULTS.suspend)
      .describe('true: the pods stay, ssh ends, and nothing alerts. Default: false.'),
    ssh: ssh(),
    forwards: z
      .array(forward())
      .min(1)
      .max(MAX_FORWARDS)
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
      .describe(
        'What the tunnel carries; each has a name and exactly one of local, remote, dynamic. Changes reach the living connection. 1-32 entries.',
      ),
    heartbeat: heartbeat(),
    retry: retry(),
    env: env(),
    envFrom: envFrom(),
    sidecar: sidecar().optional(),
    gateway: gateway().optional(),
    workloads: workloads(),
  }),
  SPEC_RULES,
).describe('What is wanted.');

const NAME = '^[a-z]([-a-z0-9]*[a-z0-9])?$';
const nameExpected = `the name of a tunnel has lower-case letters, digits and "-", a letter first, at most ${MAX_TUNNEL_NAME}`;

/** A whole SshTunnel, as `kubectl get -o yaml` shows it. */
export const sshTunnelSchema = ruled(
  z.strictObject({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal(KIND),
    metadata: z.looseObject({
      name: z.string().min(1).max(MAX_TUNNEL_NAME),
      namespace: z.string().optional(),
      uid: z.string().optional(),
      generation: z.int().optional(),
      resourceVersion: z.string().optional(),
      labels: z.record(z.string(), z.string()).optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
    spec: specSchema,
    status: statusSchema.optional(),
  }),
  [
    {
      cel: `self.metadata.name.matches(r'${NAME}')`,
      message: nameExpected,
      holds: ({ metadata }) => new RegExp(NAME).test(metadata.name),
      member: 'metadata',
    },
  ],
).describe('An SSH tunnel that is kept alive, for the pods that ask for it or as a shared gateway.');

export type SshTunnel = z.output<typeof sshTunnelSchema>;
export type SshTunnelSpec = z.output<typeof specSchema>;
export type Ssh = SshTunnelSpec['ssh'];
export type SshOptions = Ssh['options'];
export type JumpHost = Ssh['jumpHosts'][number];
export type Identity = Ssh['identity'];
export type KnownHosts = Ssh['knownHosts'];
export type Forward = SshTunnelSpec['forwards'][number];
export type Sidecar = z.output<ReturnType<typeof sidecar>>;
export type Gateway = z.output<ReturnType<typeof gateway>>;

/** The sidecar's settings with their defaults, also where the specification has none. */
export const sidecarOf = (spec: SshTunnelSpec): Sidecar => spec.sidecar ?? SIDECAR_DEFAULTS;
/** Made once: making a schema costs more than anything that is done with it. */
const SIDECAR_DEFAULTS: Sidecar = sidecar().parse({});

/** How many pods a gateway has: a remote port can be held only once. */
export const replicasOf = (spec: SshTunnelSpec): number =>
  spec.gateway?.replicas ?? (spec.forwards.some(({ remote }) => remote) ? 1 : DEFAULTS.gateway.replicas);

/** The uid to pin in the container, or null where the cluster chooses. */
export const uidOf = ({
  runAsUser,
  runAsUserStrategy,
}: Pick<Sidecar, 'runAsUser' | 'runAsUserStrategy'>): number | null =>
  runAsUserStrategy === 'Fixed' ? runAsUser : null;
