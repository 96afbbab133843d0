import { configMapData } from '../api/hand-over.ts';
import { API_VERSION, CONFIG_ANNOTATION_PREFIX, configMapName, KIND } from '../api/names.ts';
import { errorText, parseSshTunnel } from '../api/parse.ts';
import type { SshTunnel } from '../api/ssh-tunnel.ts';
import { ApiError, isInvalid, isNotFound } from '../kube/api-error.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Condition } from '../kube/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../kube/controller.ts';
import type { EventRecorder } from '../kube/events.ts';
import { controllerOf, type KubeObject, splitKey } from '../kube/object.ts';
import { CONFIG_MAPS, PODS } from '../kube/resource.ts';
import type { Store } from '../kube/store.ts';
import { configHash } from './config-hash.ts';
import { notImplemented } from './not-implemented.ts';
import { readStatus } from './read-status.ts';
import { FIELD_MANAGER, MANAGED_BY, SSH_TUNNELS } from './resource.ts';
import { type Judged, type PodView, statusOf, type TunnelStatus } from './status.ts';
import { isLive, type Pod, sidecarIn } from './tunnel-pod.ts';

export type TunnelObject = KubeObject & {
  readonly spec?: unknown;
  readonly status?: { readonly conditions?: readonly Condition[] } & Readonly<Record<string, unknown>>;
};
export type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> };

export type Cluster = {
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly tunnels: Store<TunnelObject>;
  readonly configMaps: Store<ConfigMap>;
  /** The pods that name a tunnel, by `namespace/tunnel`. */
  readonly podsOf: (key: string) => readonly Pod[];
  readonly now: () => Date;
};

/** How soon the pods are asked again: while something is wrong, and when all is well. */
const ANXIOUS_MS = 2_000;
const CALM_MS = 10_000;

/**
 * One tunnel: its ConfigMap as the specification says, the pods' kubelets told of a new one, and the status as the pods say. Looks at
 * what is, whatever woke it up.
 */
export const reconcileTunnel = async (
  key: string,
  { signal, log }: Pick<ReconcileContext, 'signal' | 'log'>,
  cluster: Cluster,
): Promise<ReconcileResult> => {
  const object = cluster.tunnels.get(key);
  // Its ConfigMap goes with it: the garbage collector follows the owner reference.
  if (object === undefined || object.metadata.deletionTimestamp !== undefined) return undefined;
  const { name, namespace } = splitKey(key);
  const parsed = parseSshTunnel(object);
  const refusal = await provide(parsed, object, cluster, signal);
  const pods = cluster.podsOf(key).filter(isLive);
  const views = await Promise.all(pods.map((pod) => lookAt(pod, name, cluster.now().getTime(), signal)));
  const judged: Judged = {
    generation: object.metadata.generation ?? 0,
    suspended: parsed.ok && parsed.value.spec.suspend,
    insecure: parsed.ok && parsed.value.spec.ssh.knownHosts.insecureSkipVerify === true,
    refusal,
    pods: views,
  };
  const old = object.status?.conditions ?? [];
  const status = statusOf(judged, old, cluster.now());
  if (JSON.stringify(sorted(status)) !== JSON.stringify(sorted(object.status))) {
    try {
      await writeStatus({ name, namespace }, status, refusal, cluster.client, signal);
    } catch (error) {
      // So far off the schema that the API server takes no status for it: an event is what can still be seen of it.
      if (isInvalid(error)) announce(object, old, status.conditions, cluster.events);
      throw error;
    }
    announce(object, old, status.conditions, cluster.events);
    log('info', 'status written', { connected: status.connected });
  }
  const isWell = status.conditions.find(({ type }) => type === 'Ready')?.status === 'True';
  return views.length === 0 ? undefined : { requeueAfterMs: isWell ? CALM_MS : ANXIOUS_MS };
};

/**
 * By server-side apply, which needs all of the object to fit the schema. One that an older schema let in need not (the API server
 * answers 500, "failed to create typed live object"): its author must learn of it all the same, so it gets a plain patch.
 */
const writeStatus = async (
  { name, namespace }: { name: string; namespace?: string | undefined },
  status: TunnelStatus,
  refusal: Judged['refusal'],
  client: KubeClient,
  signal: AbortSignal,
): Promise<void> => {
  const how = { subresource: 'status', fieldManager: FIELD_MANAGER, signal } as const;
  const metadata = { name, ...(namespace ? { namespace } : {}) };
  try {
    await client.apply(SSH_TUNNELS, { apiVersion: API_VERSION, kind: KIND, metadata, status }, { ...how, force: true });
  } catch (error) {
    const isUntyped = error instanceof ApiError && (error.code === 500 || isInvalid(error));
    if (!isUntyped || refusal?.reason !== 'Invalid') throw error;
    await client.patch(SSH_TUNNELS, { name, namespace }, { type: 'merge', body: { status } }, how);
  }
};

/** The ConfigMap, and the annotation that makes a kubelet look at it now. Why there is none, or null. */
const provide = async (
  parsed: ReturnType<typeof parseSshTunnel>,
  object: TunnelObject,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<Judged['refusal']> => {
  if (!parsed.ok) return { reason: 'Invalid', message: parsed.errors.map(errorText).join('; ').slice(0, 4096) };
  const missing = notImplemented(parsed.value.spec);
  if (missing.length > 0)
    return { reason: 'NotImplemented', message: `This version cannot do yet: ${missing.join(', ')}.` };
  const { namespace = 'default', name = '' } = object.metadata;
  const wanted = configMapName(name);
  const key = `${namespace}/${wanted}`;
  const existing = cluster.configMaps.get(key) ?? (await findForeign(namespace, wanted, cluster, signal));
  const owner = existing && controllerOf(existing);
  if (existing !== undefined && owner?.uid !== object.metadata.uid)
    return {
      reason: 'Conflict',
      message: `ConfigMap ${wanted} is there already and belongs to ${owner ? `${owner.kind} ${owner.name}` : 'nobody'}: rename the tunnel or delete that ConfigMap.`,
    };
  const data = configMapData(parsed.value);
  if (existing === undefined || configHash(existing.data ?? {}) !== configHash(data))
    await cluster.client.apply<ConfigMap>(CONFIG_MAPS, configMapFor(parsed.value, object, data), {
      fieldManager: FIELD_MANAGER,
      force: true,
      signal,
    });
  await touch(`${namespace}/${name}`, name, configHash(data), cluster, signal);
  return null;
};

/** The cache holds only our own ConfigMaps; one of somebody else must not be overwritten. */
const findForeign = async (
  namespace: string,
  name: string,
  { client }: Cluster,
  signal: AbortSignal,
): Promise<ConfigMap | undefined> =>
  await client.get<ConfigMap>(CONFIG_MAPS, { namespace, name }, { signal }).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });

const configMapFor = (tunnel: SshTunnel, { metadata }: TunnelObject, data: Record<string, string>): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: {
    name: configMapName(tunnel.metadata.name),
    namespace: metadata.namespace ?? 'default',
    labels: { ...MANAGED_BY, 'autossh.dev/tunnel': tunnel.metadata.name },
    ownerReferences: [
      { apiVersion: API_VERSION, kind: KIND, name: tunnel.metadata.name, uid: metadata.uid ?? '', controller: true },
    ],
  },
  data,
});

/** A kubelet refreshes a mounted ConfigMap every minute or so, but at once when the pod itself changes. */
const touch = async (key: string, tunnel: string, hash: string, { client, podsOf }: Cluster, signal: AbortSignal) => {
  const annotation = `${CONFIG_ANNOTATION_PREFIX}${tunnel}`;
  for (const pod of podsOf(key)) {
    if (!isLive(pod) || sidecarIn(pod, tunnel).state === 'Missing') continue;
    if (pod.metadata.annotations?.[annotation] === hash) continue;
    const { name = '', namespace = 'default' } = pod.metadata;
    const body = { metadata: { annotations: { [annotation]: hash } } };
    await client
      .patch(PODS, { name, namespace }, { type: 'merge', body }, { fieldManager: FIELD_MANAGER, signal })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  }
};

/** A container that has just started may not listen yet: its silence means nothing for a while. */
const SILENT_AT_FIRST_MS = 15_000;

const lookAt = async (pod: Pod, tunnel: string, now: number, signal: AbortSignal): Promise<PodView> => {
  const name = pod.metadata.name ?? '';
  const sidecar = sidecarIn(pod, tunnel);
  if (sidecar.state === 'Missing') return { name, injected: false, answer: null };
  if (sidecar.state === 'NotRunning') return { name, injected: true, answer: null };
  const answer = await readStatus(sidecar.host, sidecar.port, signal);
  if (answer !== null) return { name, injected: true, answer };
  return { name, injected: true, answer: now - sidecar.startedAt < SILENT_AT_FIRST_MS ? null : 'unreachable' };
};

/** An event for each change that a person would want to find in `kubectl describe`. */
const announce = (
  { metadata }: TunnelObject,
  old: readonly Condition[],
  now: readonly Condition[],
  events: EventRecorder,
): void => {
  for (const { type, status, reason, message } of now) {
    const before = old.find((one) => one.type === type);
    if (type === 'Ready' || before?.status === status || (before === undefined && status !== 'False')) continue;
    events.record({
      regarding: { apiVersion: API_VERSION, kind: KIND, ...metadata, name: metadata.name ?? '' },
      type: status === 'False' && reason !== 'Suspended' && reason !== 'Starting' ? 'Warning' : 'Normal',
      reason,
      action: type,
      note: message,
    });
  }
};

/** With the keys of all objects in order, so that two of the same content read the same. */
const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([key, part]) => [key, sorted(part)]),
  );
};
