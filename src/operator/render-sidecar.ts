import { containerEnv, type TunnelVolume, volumesOf } from '../api/hand-over.ts';
import { containerName } from '../api/names.ts';
import { type SshTunnel, sidecarOf, uidOf } from '../api/ssh-tunnel.ts';
import type { Container, ImagePullPolicy, Probe, Resources, Volume, VolumeMount } from './pod.ts';

/** What the operator is configured with for all sidecars. */
export type SidecarSettings = {
  readonly image: string;
  /** Absent: the API server decides by the tag. */
  readonly imagePullPolicy?: ImagePullPolicy;
  /** For tunnels that say nothing about resources themselves. */
  readonly resources?: Resources;
};

export type SidecarPlace = {
  /** Port of probes, metrics and status. */
  readonly healthPort: number;
  readonly portName: string;
  /** Such a pod gets no `ports`: each would become a hostPort, and the second pod of a node would find it taken. */
  readonly hostNetwork: boolean;
};

export type RenderedSidecar = { readonly container: Container; readonly volumes: readonly Volume[] };

/**
 * The native sidecar of a tunnel and its volumes: what the restricted Pod Security Standard asks for is all said at container level,
 * whatever the pod says. The same inputs, the same bytes.
 */
export const renderSidecar = (tunnel: SshTunnel, settings: SidecarSettings, place: SidecarPlace): RenderedSidecar => {
  const { name } = tunnel.metadata;
  const { healthPort, portName, hostNetwork } = place;
  const sidecar = sidecarOf(tunnel.spec);
  const uid = uidOf(sidecar);
  const sources = volumesOf(tunnel);
  const container: Container = {
    name: containerName(name),
    image: settings.image,
    ...(settings.imagePullPolicy === undefined ? {} : { imagePullPolicy: settings.imagePullPolicy }),
    // Only arguments: the entrypoint of the image is tini, which reaps what ssh leaves behind.
    args: [
      ...['autossh-operator', 'sidecar', '--http-port', String(healthPort)],
      // There loopback is the node's: hosts, users and ssh's lines are not for everybody on it.
      ...(hostNetwork ? ['--page-port', '0'] : []),
    ],
    restartPolicy: 'Always',
    env: [...containerEnv(name), { name: 'TMPDIR', value: PRIVATE_DIR }],
    ...(hostNetwork ? {} : { ports: [{ name: portName, containerPort: healthPort, protocol: 'TCP' }] }),
    resources: resourcesOf(sidecar.resources, settings.resources),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      ...(uid === null ? {} : { runAsUser: uid, runAsGroup: uid }),
      seccompProfile: { type: 'RuntimeDefault' },
    },
    // None with Async: even one that passes at once costs the app nearly two seconds.
    ...(sidecar.startup === 'Async' ? {} : { startupProbe: probe('/startupz', healthPort, 1, NEVER_EXPIRES) }),
    livenessProbe: probe('/livez', healthPort, 10, 3),
    // One failure is enough: the heartbeat's own threshold has passed before.
    ...(sidecar.podReadiness === 'Require' ? { readinessProbe: probe('/readyz', healthPort, 2, 1) } : {}),
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      ...sources.map(
        (source): VolumeMount => ({
          name: volumeName(name, source.name),
          mountPath: source.mountPath,
          readOnly: true,
        }),
      ),
      { name: volumeName(name, PRIVATE), mountPath: PRIVATE_DIR },
      { name: volumeName(name, NO_TOKEN), mountPath: TOKEN_DIR, readOnly: true },
    ],
  };
  const volumes: Volume[] = [
    ...sources.map((source) => volumeOf(name, source)),
    // In memory: decrypted keys and sockets never reach the node's disk.
    { name: volumeName(name, PRIVATE), emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
    // With a mount of its own at that path the container gets no token of the service account.
    { name: volumeName(name, NO_TOKEN), emptyDir: {} },
  ];
  return { container, volumes };
};

const PRIVATE = 'private';
const PRIVATE_DIR = '/run/autossh';
const NO_TOKEN = 'no-token';
const TOKEN_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The largest the API takes: a startup probe that expired would restart the supervisor, which mends no network. */
const NEVER_EXPIRES = 2_147_483_647;
/** Readable for the container's uid without an fsGroup, which is the pod's own affair. */
const READ_ALL = 0o444;

/** Without a CPU limit: a throttled heartbeat looks like a lost one. */
const DEFAULT_RESOURCES: Resources = { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } };

/** Who says anything says all: a request of the tunnel beside our limit might exceed it. */
const resourcesOf = (
  {
    requests,
    limits,
  }: { requests?: Record<string, string | number> | undefined; limits?: Record<string, string | number> | undefined },
  otherwise: Resources = DEFAULT_RESOURCES,
): Resources =>
  requests === undefined && limits === undefined
    ? otherwise
    : { ...(requests === undefined ? {} : { requests }), ...(limits === undefined ? {} : { limits }) };

const probe = (path: string, port: number, periodSeconds: number, failureThreshold: number): Probe => ({
  httpGet: { path, port },
  periodSeconds,
  timeoutSeconds: 5,
  failureThreshold,
});

/** Shortened, so that the longest tunnel's longest stays within 63 characters. */
const volumeName = (tunnel: string, name: string): string =>
  `${containerName(tunnel)}-${name.replace(/^known-hosts/, 'hosts').replace(/^identity/, 'key')}`;

const volumeOf = (tunnel: string, { name, kind, objectName, items }: TunnelVolume): Volume => {
  const rest = { items, defaultMode: READ_ALL, optional: true } as const;
  return kind === 'Secret'
    ? { name: volumeName(tunnel, name), secret: { secretName: objectName, ...rest } }
    : { name: volumeName(tunnel, name), configMap: { name: objectName, ...rest } };
};
