import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, CONFIG_ANNOTATION_PREFIX, KIND } from '../api/names.ts';
import { ApiError, isForbidden, isInvalid, isNotFound } from '../kube/api-error.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Condition } from '../kube/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../kube/controller.ts';
import type { EventRecorder, Regarding } from '../kube/events.ts';
import { type KubeObject, makeKey, splitKey } from '../kube/object.ts';
import { PODS } from '../kube/resource.ts';
import type { Store } from '../kube/store.ts';
import { askAgainAfterMs } from './ask-again.ts';
import { readStatus } from './read-status.ts';
import type { Refusals } from './refusals.ts';
import { FIELD_MANAGER, SSH_TUNNELS } from './resource.ts';
import { type Judged, type PodView, type Refusal, statusOf, type TunnelStatus } from './status.ts';
import { type ConfigMap, keepConfigMap } from './tunnel-config-map.ts';
import { planOf, type TunnelPlan } from './tunnel-plan.ts';
import { isLive, type Pod, sidecarIn } from './tunnel-pod.ts';

export type TunnelObject = KubeObject & {
  readonly spec?: unknown;
  readonly status?: { readonly conditions?: readonly Condition[] } & Readonly<Record<string, unknown>>;
};

export type Cluster = {
  readonly client: KubeClient;
  readonly events: EventRecorder;
  readonly tunnels: Store<TunnelObject>;
  readonly configMaps: Store<ConfigMap>;
  /** The pods that name a tunnel, by `namespace/tunnel`. */
  readonly podsOf: (key: string) => readonly Pod[];
  readonly refusals: Refusals;
  readonly now: () => Date;
};

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
  if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
    cluster.refusals.note(key, null, log);
    return undefined;
  }
  const { name, namespace } = splitKey(key);
  const plan = planOf(object);
  const { refusal, trouble } = await provide(plan, object, cluster, signal);
  cluster.refusals.note(key, refusal, log);
  const pods = cluster.podsOf(key).filter(isLive);
  const views = await Promise.all(pods.map((pod) => lookAt(pod, name, cluster.now().getTime(), signal)));
  const judged: Judged = {
    generation: object.metadata.generation ?? 0,
    suspended: plan.suspended,
    insecure: plan.insecure,
    refusal,
    pods: views,
  };
  const before: TunnelObject['status'] = written.get(object) ?? object.status;
  const old = before?.conditions ?? [];
  const status = statusOf(judged, old, cluster.now());
  if (!isDeepStrictEqual(status, before)) {
    try {
      await writeStatus({ name, namespace }, status, refusal, cluster.client, signal);
    } catch (error) {
      // So far off the schema that the API server takes no status for it: an event is what can still be seen of it.
      if (isInvalid(error)) announce(object, old, status.conditions, cluster.events);
      if (isForbidden(error)) warn(object, error, cluster.events);
      throw error;
    }
    written.set(object, status);
    announce(object, old, status.conditions, cluster.events);
    log('info', 'status written', { connected: status.connected });
  }
  // Told of in the status; it counts as a failure all the same, and is tried again as one.
  if (trouble !== undefined) throw trouble;
  // A pod that starts makes itself heard.
  if (!pods.some((pod) => sidecarIn(pod, name).state === 'Running')) return undefined;
  const ready = status.conditions.find(({ type }) => type === 'Ready');
  return { requeueAfterMs: askAgainAfterMs(ready, cluster.now(), Math.random()) };
};

/** What was written while the cache had this object: it has the old one until the watch comes round, and nothing is to be written twice. */
const written = new WeakMap<TunnelObject, TunnelStatus>();

/**
 * By server-side apply, which needs all of the object to fit the schema. One that an older schema let in need not (the API server
 * answers 500, "failed to create typed live object"): its author must learn of it all the same, so it gets a plain patch.
 */
const writeStatus = async (
  { name, namespace }: { name: string; namespace?: string | undefined },
  status: TunnelStatus,
  refusal: Refusal | null,
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

/** Why the tunnel has no ConfigMap, or null; and a failure that does not keep its author from being told. */
type Provided = { readonly refusal: Refusal | null; readonly trouble?: ApiError };

/** The ConfigMap, and the annotation that makes a kubelet look at it now. */
const provide = async (
  plan: TunnelPlan,
  object: TunnelObject,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<Provided> => {
  if (plan.refusal !== null) return { refusal: plan.refusal };
  try {
    const refusal = await keepConfigMap(plan, object, cluster, signal);
    if (refusal !== null) return { refusal };
  } catch (error) {
    if (!isForbidden(error)) throw error;
    const message = `The operator may not keep the ConfigMap of the tunnel, give it the permission: ${error.message}`;
    return { refusal: { reason: 'Forbidden', message }, trouble: error };
  }
  try {
    await touch(object, plan.hash, cluster, signal);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    warn(object, error, cluster.events);
    return { refusal: null, trouble: error };
  }
  return { refusal: null };
};

/** A kubelet refreshes a mounted ConfigMap every minute or so, but at once when the pod itself changes. */
const touch = async (
  { metadata }: TunnelObject,
  hash: string,
  { client, podsOf }: Cluster,
  signal: AbortSignal,
): Promise<void> => {
  const tunnel = metadata.name ?? '';
  const annotation = `${CONFIG_ANNOTATION_PREFIX}${tunnel}`;
  for (const pod of podsOf(makeKey(tunnel, metadata.namespace))) {
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
      regarding: regardingOf(metadata),
      type: status === 'False' && reason !== 'Suspended' && reason !== 'Starting' ? 'Warning' : 'Normal',
      reason,
      action: type,
      note: message,
    });
  }
};

/** The API server's own words say which verb on which resource. */
const warn = ({ metadata }: TunnelObject, { message }: ApiError, events: EventRecorder): void =>
  events.record({
    regarding: regardingOf(metadata),
    type: 'Warning',
    reason: 'Forbidden',
    action: 'Reconcile',
    note: message,
  });

/** No more than who it is: with a resourceVersion in it each repetition would be an event of its own. */
const regardingOf = ({ name = '', namespace, uid }: TunnelObject['metadata']): Regarding => ({
  ...{ apiVersion: API_VERSION, kind: KIND, name, namespace, uid },
});
