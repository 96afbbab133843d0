import { DEFAULTS } from './defaults.ts';
import type { DocumentForward, Endpoint, Hop, Slot, TunnelDocument } from './document.ts';
import { identityDir, knownHostsDir, MOUNT_ROOT, SLOT_FILES, TUNNEL_VARIABLE } from './mounts.ts';
import { configMapName, RETRY_ANNOTATION } from './names.ts';
import { pickResidentEnv, RESIDENT_ENV_NAMES } from './resident-env.ts';
import {
  type Forward,
  type Identity,
  type JumpHost,
  type KnownHosts,
  type SshTunnel,
  sidecarOf,
} from './ssh-tunnel.ts';

/** Everything the supervisor needs to know, with every default filled in. Pure: the same tunnel, the same document. */
export const documentOf = (tunnel: SshTunnel): TunnelDocument => {
  const { metadata, spec } = tunnel;
  const { startup, podReadiness } = sidecarOf(spec);
  const { ssh } = spec;
  const retryToken = metadata.annotations?.[RETRY_ANNOTATION]?.slice(0, 256);
  return {
    version: 1,
    name: metadata.name,
    namespace: metadata.namespace ?? 'default',
    generation: metadata.generation ?? 0,
    mode: spec.mode,
    suspend: spec.suspend,
    ...(retryToken === undefined ? {} : { retryToken }),
    ssh: {
      host: ssh.host,
      port: ssh.port,
      user: ssh.user,
      ...(ssh.hostKeyAlias === undefined ? {} : { hostKeyAlias: ssh.hostKeyAlias }),
      identity: 'target',
      knownHosts: 'target',
      options: ssh.options,
    },
    jumpHosts: ssh.jumpHosts.map((hop, index) => hopOf(hop, index, ssh.user)),
    identities: withIdentity(tunnel).map(([slot, { secretRef }]) => ({
      slot,
      passphrase: secretRef.passphraseKey !== undefined,
      certificate: secretRef.certificateKey !== undefined,
    })),
    knownHosts: withKnownHosts(tunnel).map(([slot, source]) => ({ slot, ...knownHostsOf(source) })),
    forwards: spec.forwards.map((forward) => forwardOf(forward, spec.mode)),
    heartbeat: spec.heartbeat,
    retry: spec.retry,
    startup,
    podReadiness,
    drainSeconds: spec.gateway?.drainSeconds ?? 0,
  };
};

/**
 * The data of the tunnel's ConfigMap: AUTOSSH_TUNNEL and the AUTOSSH_* of spec.env, nothing else. heartbeat.periodSeconds wins over
 * AUTOSSH_POLL, so AUTOSSH_POLL then says the same. The same tunnel, the same bytes.
 */
export const configMapData = (tunnel: SshTunnel): Record<string, string> => {
  const { periodSeconds } = tunnel.spec.heartbeat;
  return {
    ...pickResidentEnv(tunnel.spec.env),
    ...(periodSeconds === undefined ? {} : { AUTOSSH_POLL: String(periodSeconds) }),
    [TUNNEL_VARIABLE]: JSON.stringify(documentOf(tunnel)),
  };
};

/** One ConfigMap or Secret as a volume of the tunnel's container; only `items` are mounted, each under a name of ours. */
export type TunnelVolume = {
  /** Unique among the volumes of one tunnel. */
  readonly name: string;
  readonly kind: 'ConfigMap' | 'Secret';
  readonly objectName: string;
  readonly items: readonly { readonly key: string; readonly path: string }[];
  readonly mountPath: string;
};

/**
 * What is mounted into the container of a tunnel, always optional: its own ConfigMap, keys, known_hosts, and the sources of envFrom.
 * Those are files too, and not variables, so that they apply without a restart and no list of variables has one name twice; as only
 * keys of the closed list are mounted, no NODE_OPTIONS or LD_PRELOAD comes in by them. Of two sources the later directory wins.
 */
export const volumesOf = (tunnel: SshTunnel): TunnelVolume[] => [
  {
    name: 'config',
    kind: 'ConfigMap',
    objectName: configMapName(tunnel.metadata.name),
    items: closedKeys([TUNNEL_VARIABLE, ...RESIDENT_ENV_NAMES]),
    mountPath: `${MOUNT_ROOT}/config`,
  },
  ...withIdentity(tunnel).map(([slot, { secretRef }]): TunnelVolume => {
    const { name, key, passphraseKey, certificateKey } = secretRef;
    const items = [
      { key, path: SLOT_FILES.key },
      ...(passphraseKey === undefined ? [] : [{ key: passphraseKey, path: SLOT_FILES.passphrase }]),
      ...(certificateKey === undefined ? [] : [{ key: certificateKey, path: SLOT_FILES.certificate }]),
    ];
    return { name: `identity-${slot}`, kind: 'Secret', objectName: name, items, mountPath: identityDir(slot) };
  }),
  ...withKnownHosts(tunnel).flatMap(([slot, { configMapRef, secretRef }]): TunnelVolume[] => {
    const ref = configMapRef ?? secretRef;
    if (ref === undefined) return [];
    const kind = configMapRef === undefined ? 'Secret' : 'ConfigMap';
    const items = [{ key: ref.key, path: SLOT_FILES.knownHosts }];
    return [{ name: `known-hosts-${slot}`, kind, objectName: ref.name, items, mountPath: knownHostsDir(slot) }];
  }),
  ...tunnel.spec.envFrom.map(
    ({ configMapRef, secretRef }, index): TunnelVolume => ({
      name: `env-${index}`,
      kind: configMapRef === undefined ? 'Secret' : 'ConfigMap',
      objectName: (configMapRef ?? secretRef)?.name ?? '',
      items: closedKeys(RESIDENT_ENV_NAMES),
      mountPath: `${MOUNT_ROOT}/env/${index}`,
    }),
  ),
];

/** One variable of the container, as Kubernetes writes it. */
export type EnvVar = {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly configMapKeyRef: { readonly name: string; readonly key: string; readonly optional: true };
  };
};

/** The environment of the tunnel's container: the closed list, key by key from the tunnel's own ConfigMap, and NODE_OPTIONS empty. */
export const containerEnv = (tunnelName: string): EnvVar[] => [
  { name: 'NODE_OPTIONS', value: '' },
  ...[TUNNEL_VARIABLE, ...RESIDENT_ENV_NAMES].map((key) => ({
    name: key,
    valueFrom: { configMapKeyRef: { name: configMapName(tunnelName), key, optional: true as const } },
  })),
];

const closedKeys = (keys: readonly string[]) => keys.map((key) => ({ key, path: key }));

const HOPS = ['hop-1', 'hop-2', 'hop-3', 'hop-4'] as const;
const hopSlot = (index: number): Slot => HOPS[index] ?? 'hop-4';

const hopOf = (hop: JumpHost, index: number, user: string): Hop => ({
  host: hop.host,
  port: hop.port,
  user: hop.user ?? user,
  ...(hop.hostKeyAlias === undefined ? {} : { hostKeyAlias: hop.hostKeyAlias }),
  identity: hop.identity === undefined ? 'target' : hopSlot(index),
  knownHosts: hop.knownHosts === undefined ? 'target' : hopSlot(index),
  options: hop.options,
});

/** The logins that have an identity of their own, by slot. */
const withIdentity = ({ spec: { ssh } }: SshTunnel): [Slot, Identity][] => [
  ['target', ssh.identity],
  ...ssh.jumpHosts.flatMap(({ identity }, index): [Slot, Identity][] => (identity ? [[hopSlot(index), identity]] : [])),
];

const withKnownHosts = ({ spec: { ssh } }: SshTunnel): [Slot, KnownHosts][] => [
  ['target', ssh.knownHosts],
  ...ssh.jumpHosts.flatMap(({ knownHosts }, index): [Slot, KnownHosts][] =>
    knownHosts ? [[hopSlot(index), knownHosts]] : [],
  ),
];

const knownHostsOf = ({
  inline,
  insecureSkipVerify,
}: KnownHosts): Omit<TunnelDocument['knownHosts'][number], 'slot'> => {
  if (inline !== undefined) return { source: 'Inline', inline };
  return { source: insecureSkipVerify === true ? 'Insecure' : 'File' };
};

type Place = { host?: string | undefined; port?: number | undefined; path?: string | undefined };
const endpoint = ({ host, port, path }: Place, otherwise: string): Endpoint =>
  path === undefined ? { host: host ?? otherwise, port: port ?? 0 } : { path };

/**
 * Hosts that nobody wrote. Here: 127.0.0.1 in a sidecar, and not "localhost", of which ssh would take one half where the other is taken,
 * so that the app might reach a stranger. There: "localhost", which is what `permitlisten` and `permitopen` usually say, as text.
 */
const forwardOf = ({ name, local, remote, dynamic, probe }: Forward, mode: 'Sidecar' | 'Gateway'): DocumentForward => {
  const here = mode === 'Sidecar' ? '127.0.0.1' : '*';
  if (remote !== undefined)
    return {
      kind: 'remote',
      name,
      listen: endpoint(remote.listen, 'localhost'),
      target: endpoint(remote.target, DEFAULTS.targetHost),
    };
  if (dynamic !== undefined)
    return { kind: 'dynamic', name, listen: { host: dynamic.listen.host ?? here, port: dynamic.listen.port ?? 0 } };
  return {
    kind: 'local',
    name,
    listen: endpoint(local?.listen ?? {}, here),
    target: endpoint(local?.target ?? {}, DEFAULTS.targetHost),
    ...(probe === undefined ? {} : { probe: probeOf(probe) }),
  };
};

const probeOf = ({ http, periodSeconds, timeoutSeconds }: NonNullable<Forward['probe']>) => ({
  kind: http === undefined ? ('tcp' as const) : ('http' as const),
  ...(http === undefined ? {} : { path: http.path, ...(http.host === undefined ? {} : { host: http.host }) }),
  expectedStatuses: http?.expectedStatuses ?? [],
  periodSeconds,
  timeoutSeconds,
});
