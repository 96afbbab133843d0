/** The names by which the resource, and what belongs to one tunnel, is known to Kubernetes. */
export const GROUP = 'autossh.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;
export const KIND = 'SshTunnel';
export const PLURAL = 'sshtunnels';
export const SINGULAR = 'sshtunnel';
export const SHORT_NAMES = ['sshtun'];
export const CATEGORIES = ['autossh'];

/** Label of a pod that asks for tunnels. */
export const INJECT_LABEL = 'autossh.dev/inject';
/** Prefix of the annotations that name them, one key per tunnel: `tunnel.autossh.dev/orders-db: ""`. */
export const TUNNEL_ANNOTATION_PREFIX = 'tunnel.autossh.dev/';
/** Prefix of the annotations that carry the hash of a tunnel's ConfigMap; a change makes the kubelet refresh the pod's volumes. */
export const CONFIG_ANNOTATION_PREFIX = 'config.autossh.dev/';
/** Prefix of the annotations that injection leaves on a pod: the hash of a tunnel's sidecar as it was injected. */
export const SIDECAR_ANNOTATION_PREFIX = 'sidecar.autossh.dev/';
/** Annotation of an SshTunnel: each new value makes its sidecars retry now, whatever the backoff. */
export const RETRY_ANNOTATION = 'autossh.dev/retry';

/** Longest name of a tunnel, so that all names made from it stay within 63 characters. */
export const MAX_TUNNEL_NAME = 40;
/** Port of the first tunnel's probes, metrics and status on the pod IP; further tunnels of a pod count up. */
export const HEALTH_PORT = 9322;
/** Port of the full status and its page on loopback: beside the health port of the same tunnel, so that none meets another's. */
export const pagePortOf = (healthPort: number): number =>
  healthPort + PAGE_PORT_OFFSET <= 65535 ? healthPort + PAGE_PORT_OFFSET : healthPort - PAGE_PORT_OFFSET;
const PAGE_PORT_OFFSET = 100;
/** uid of the sidecar: uncommon, since an app of the same uid that shares the process namespace could read the key. */
export const SIDECAR_UID = 27222;

export const containerName = (tunnel: string): string => `autossh-${tunnel}`;
export const configMapName = (tunnel: string): string => `${tunnel}-autossh`;
