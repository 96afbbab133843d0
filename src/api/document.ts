import * as z from 'zod';
import { type FieldError, fieldErrorsOf, type Parsed } from './field-error.ts';
import { HEARTBEAT_METHODS } from './heartbeat-methods.ts';
import { algorithms, forwardName, host, httpPath, knownHostsText, listenHost, port, socketPath, user } from './text.ts';

/**
 * The resolved tunnel that the controller hands to the supervisor: AUTOSSH_TUNNEL, as JSON. Every default is filled in, so that an older
 * supervisor and a newer controller agree; nothing secret is in it. Each text is judged again with the rules of the CRD, since a ConfigMap
 * can be written by others than the controller. Members that are not known are ignored: sidecars live longer than controllers.
 */

/** Which login's files are meant: those of the server itself, or of a jump host. */
export const SLOTS = ['target', 'hop-1', 'hop-2', 'hop-3', 'hop-4'] as const;
export type Slot = (typeof SLOTS)[number];
const slot = () => z.enum(SLOTS);

const options = z.object({
  compression: z.boolean(),
  connectTimeoutSeconds: z.int().min(1).max(300),
  serverAliveIntervalSeconds: z.int().min(0).max(3600),
  serverAliveCountMax: z.int().min(1).max(100),
  addressFamily: z.enum(['Any', 'IPv4', 'IPv6']),
  hostKeyAlgorithms: algorithms().optional(),
  pubkeyAcceptedAlgorithms: algorithms().optional(),
  kexAlgorithms: algorithms().optional(),
  ciphers: algorithms().optional(),
  macs: algorithms().optional(),
});

/** One host to log in at. `identity` and `knownHosts` name the slot whose files are used there. */
const hop = z.object({
  host: host(),
  port: port(),
  user: user(),
  hostKeyAlias: host().optional(),
  identity: slot(),
  knownHosts: slot(),
  options,
});

const PLACE = { error: 'expected a valid host and port, or a valid path of a unix socket' };
const listen = z.union([z.object({ host: listenHost(), port: port() }), z.object({ path: socketPath() })], PLACE);
const target = z.union([z.object({ host: host(), port: port() }), z.object({ path: socketPath() })], PLACE);

const probe = z.object({
  kind: z.enum(['tcp', 'http']),
  /** For http. */
  path: httpPath().optional(),
  host: host().optional(),
  expectedStatuses: z.array(z.int().min(100).max(599)).max(16).default([]),
  periodSeconds: z.int().min(1).max(3600),
  timeoutSeconds: z.int().min(1).max(300),
});

const forward = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('local'), name: forwardName(), listen, target, probe: probe.optional() }),
  z.object({ kind: z.literal('remote'), name: forwardName(), listen, target }),
  z.object({ kind: z.literal('dynamic'), name: forwardName(), listen: z.object({ host: listenHost(), port: port() }) }),
]);

export const documentSchema = z.object({
  version: z.literal(1),
  name: z.string().min(1).max(63),
  namespace: z.string().max(63),
  /** metadata.generation of the SshTunnel: what `autossh_config_generation` shows. */
  generation: z.int().min(0),
  mode: z.enum(['Sidecar', 'Gateway']),
  suspend: z.boolean(),
  /** The value of the retry annotation: a new one asks for an attempt now. */
  retryToken: z.string().max(256).optional(),
  ssh: hop,
  jumpHosts: z.array(hop).max(4),
  /** The logins that have a key of their own, and what lies beside the key. */
  identities: z.array(z.object({ slot: slot(), passphrase: z.boolean(), certificate: z.boolean() })).max(5),
  /** The known_hosts files there are; Insecure means that host keys are not checked. */
  knownHosts: z
    .array(
      z.object({ slot: slot(), source: z.enum(['File', 'Inline', 'Insecure']), inline: knownHostsText().optional() }),
    )
    .max(5),
  forwards: z.array(forward).min(1).max(32),
  heartbeat: z.object({
    method: z.enum(HEARTBEAT_METHODS),
    /** Absent: AUTOSSH_POLL decides. */
    periodSeconds: z.int().min(1).max(3600).optional(),
    timeoutSeconds: z.int().min(1).max(300),
    failureThreshold: z.int().min(1).max(100),
    livenessDeadlineSeconds: z.int().min(0).max(86400),
    forward: forwardName().optional(),
    echoPort: port().optional(),
  }),
  retry: z.object({
    networkMaxSeconds: z.int().min(1).max(3600),
    remotePortBusySeconds: z.int().min(1).max(3600),
    authMaxSeconds: z.int().min(1).max(86400),
  }),
  /** Of a sidecar: what its startup and readiness probes mean. */
  startup: z.enum(['WaitForTunnel', 'Async']),
  podReadiness: z.enum(['Ignore', 'Require']),
  /** Seconds that open connections get at the end; 0 in a sidecar, which ends after its app. */
  drainSeconds: z.int().min(0).max(3600),
});

export type TunnelDocument = z.output<typeof documentSchema>;
export type Hop = TunnelDocument['ssh'];
export type DocumentForward = TunnelDocument['forwards'][number];
export type Endpoint = z.output<typeof listen>;

/** A variable of an environment must stay below 128 KiB, name included; the bounds of the schema keep every document below this. */
export const MAX_DOCUMENT_BYTES = 112 * 1024;

/** Reads AUTOSSH_TUNNEL; errors have the paths of the document. */
export const parseDocument = (text: string): Parsed<TunnelDocument> => {
  if (text.length > MAX_DOCUMENT_BYTES)
    return bad('', 'Too long', `expected at most ${MAX_DOCUMENT_BYTES} bytes of JSON; got ${text.length}`);
  let object: unknown;
  try {
    object = JSON.parse(text);
  } catch {
    return bad('', 'Invalid value', 'expected the JSON that the controller writes');
  }
  const result = documentSchema.safeParse(object);
  if (!result.success) return { ok: false, errors: fieldErrorsOf(result.error, object) };
  const errors = danglingSlots(result.data);
  return errors.length === 0 ? { ok: true, value: result.data } : { ok: false, errors };
};

const bad = (field: string, problem: string, message: string): Parsed<never> => ({
  ok: false,
  errors: [{ field, problem, message }],
});

/** Every slot that a host names is there: a host without known_hosts must not fall back to something laxer. */
const danglingSlots = ({ ssh, jumpHosts, identities, knownHosts }: TunnelDocument): FieldError[] =>
  [ssh, ...jumpHosts].flatMap((one, index) => {
    const field = index === 0 ? 'ssh' : `jumpHosts[${index - 1}]`;
    const missing = (member: 'identity' | 'knownHosts', there: readonly { slot: Slot }[]): FieldError[] =>
      there.some(({ slot }) => slot === one[member])
        ? []
        : [
            {
              field: `${field}.${member}`,
              problem: 'Invalid value',
              got: JSON.stringify(one[member]),
              message: `expected one of ${there.map(({ slot }) => slot).join(', ')}`,
            },
          ];
    return [...missing('identity', identities), ...missing('knownHosts', knownHosts)];
  });
