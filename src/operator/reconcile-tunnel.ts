import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, CONFIG_ANNOTATION_PREFIX, KIND } from '../api/names.ts';
import { ApiError, isForbidden, isInvalid, isNotFound } from '../kube/api-error.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Condition } from '../kube/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../kube/controller.ts';
import type { EventRecorder, Regarding } from '../kube/events.ts';
import { type KubeObject, makeKey, splitKey } from '../kube/object.ts';
import type { OwnWrites } from '../kube/own-writes.ts';
import { PODS } from '../kube/resource.ts';
import type { Store } from '../kube/store.ts';
import { askAgainAfterMs, lookLaterMs, lookSoonMs } from './ask-again.ts';
import { atMost } from './at-most.ts';
import { type Heard, hear, isStarting } from './hear.ts';
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
  readonly configMaps: OwnWrites<ConfigMap>;
  /** The pods that name a tunnel, by `namespace/tunnel`. */
  readonly podsOf: (key: string) => readonly Pod[];
  readonly refusals: Refusals;
  /** What the sidecars said last, by tunnel and uid of the pod; kept up by the reconciler, empty at first. */
  readonly heard: Map<string, ReadonlyMap<string, Heard>>;
  /** Since when pods of a tunnel have not taken up its newest generation, Unix ms; kept up by the reconciler, empty at first. */
  readonly behind: Map<string, { readonly generation: number; readonly since: number }>;
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
    cluster.heard.delete(key);
    cluster.behind.delete(key);
    return undefined;
  }
  const { name, namespace } = splitKey(key);
  const plan = planOf(object);
  const provided = await provide(plan, object, cluster, signal);
  if (provided === 'Waits') {
    cluster.refusals.note(key, null, log);
    return { requeueAfterMs: lookSoonMs(Math.random()) };
  }
  const { refusal, trouble } = provided;
  cluster.refusals.note(key, refusal, log);
  const pods = cluster.podsOf(key).filter(isLive);
  const { views, isSilent } = await lookAtAll(pods, key, cluster, signal);
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
  if (isSilent) return { requeueAfterMs: lookSoonMs(Math.random()) };
  // Only objects of ours are watched: whether that of somebody else is gone is to be looked at.
  const conflict = refusal?.reason === 'Conflict' ? [lookLaterMs(Math.random())] : [];
  const ready = status.conditions.find(({ type }) => type === 'Ready');
  // A pod that starts makes itself heard.
  const runs = pods.some((pod) => sidecarIn(pod, name).state === 'Running');
  const behindSince = noteBehind(key, judged, status, cluster);
  const waits = [...conflict, ...(runs ? [askAgainAfterMs(ready, behindSince, cluster.now(), Math.random())] : [])];
  return waits.length === 0 ? undefined : { requeueAfterMs: Math.min(...waits) };
};

/** Since when pods that answer run an older generation than the newest; null: none does, or the newest is refused. */
const noteBehind = (
  key: string,
  { generation, refusal, pods }: Judged,
  { pods: { upToDate } }: TunnelStatus,
  { behind, now }: Cluster,
): number | null => {
  const answering = pods.filter(({ answer }) => answer !== null && answer !== 'unreachable').length;
  if (refusal !== null || upToDate >= answering) {
    behind.delete(key);
    return null;
  }
  const former = behind.get(key);
  if (former?.generation === generation) return former.since;
  const since = now().getTime();
  behind.set(key, { generation, since });
  return since;
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
): Promise<Provided | 'Waits'> => {
  if (plan.refusal !== null) return { refusal: plan.refusal };
  try {
    const kept = await keepConfigMap(plan, object, cluster, signal);
    if (kept === 'Waits') return kept;
    if (kept !== null) return { refusal: kept };
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

/** Of one tunnel. Thousands of silent pods, 2 s each, still fit into the 120 s of a reconciliation; as many sockets would not. */
const ASKED_AT_ONCE = 64;

/** What the pods of a tunnel say, and whether one of them said nothing and is believed for what it said before. */
const lookAtAll = async (
  pods: readonly Pod[],
  key: string,
  { heard, now }: Cluster,
  signal: AbortSignal,
): Promise<{ readonly views: readonly PodView[]; readonly isSilent: boolean }> => {
  const { name } = splitKey(key);
  const former = heard.get(key);
  const looks = await atMost(ASKED_AT_ONCE, pods, async (pod) => {
    const uid = pod.metadata.uid ?? '';
    return { uid, ...(await lookAt(pod, name, former?.get(uid), now, signal)) };
  });
  // A question that was broken off is no silence.
  signal.throwIfAborted();
  const known = looks.flatMap(({ uid, last }): [string, Heard][] => (last === null ? [] : [[uid, last]]));
  if (known.length === 0) heard.delete(key);
  else heard.set(key, new Map(known));
  return { views: looks.map(({ view }) => view), isSilent: known.some(([, { silence }]) => silence !== null) };
};

const lookAt = async (
  pod: Pod,
  tunnel: string,
  former: Heard | undefined,
  clock: Cluster['now'],
  signal: AbortSignal,
): Promise<{ readonly view: PodView; readonly last: Heard | null }> => {
  const name = pod.metadata.name ?? '';
  const sidecar = sidecarIn(pod, tunnel);
  if (sidecar.state === 'Missing') return { view: { name, injected: false, answer: null }, last: null };
  if (sidecar.state === 'NotRunning') return { view: { name, injected: true, answer: null }, last: null };
  const { host, port, startedAt } = sidecar;
  const answer = await readStatus(host, port, signal);
  const now = clock().getTime();
  const last = hear(former, answer, { now, startedAt });
  const unknown = isStarting(startedAt, now) ? null : 'unreachable';
  return { view: { name, injected: true, answer: last?.answer ?? unknown }, last };
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
