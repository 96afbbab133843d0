import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, configMapName, GROUP, KIND } from '../api/names.ts';
import { isConflict } from '../kube/api-error.ts';
import type { KubeClient } from '../kube/client.ts';
import { controllerOf, type KubeObject, makeKey } from '../kube/object.ts';
import type { OwnWrites } from '../kube/own-writes.ts';
import { CONFIG_MAPS } from '../kube/resource.ts';
import type { Store } from '../kube/store.ts';
import { FIELD_MANAGER, MANAGED_BY } from './resource.ts';
import type { Refusal } from './status.ts';
import { planOf, type TunnelPlan } from './tunnel-plan.ts';

export type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> };

/** How long the garbage collector may take to follow a deletion before a person is told, ms: it takes seconds. */
const COLLECTION_MS = 60_000;

/**
 * Writes it where it is not as planned. Null, or why it cannot be: rejects with what the API server refuses. 'Waits': the ConfigMap is
 * that of a former tunnel of this name, which the garbage collector will delete.
 */
export const keepConfigMap = async (
  { data }: Extract<TunnelPlan, { refusal: null }>,
  object: KubeObject,
  { client, configMaps, now }: Needs,
  signal: AbortSignal,
): Promise<Refusal | 'Waits' | null> => {
  const { namespace = 'default', name = '' } = object.metadata;
  const place = { namespace, name: configMapName(name) };
  const how = { fieldManager: FIELD_MANAGER, force: true, signal };
  const wanted = configMapFor(object, data);
  let existing = configMaps.get(makeKey(place.name, namespace));
  if (existing === undefined)
    try {
      // The cache holds only our own; one of somebody else must not be overwritten.
      configMaps.wrote(await client.apply(CONFIG_MAPS, wanted, { ...how, createOnly: true }));
      return null;
    } catch (error) {
      if (!isConflict(error)) throw error;
      existing = await client.get<ConfigMap>(CONFIG_MAPS, place, { signal });
    }
  if (isAs(existing, wanted)) return null;
  const owner = controllerOf(existing);
  if (owner?.uid === object.metadata.uid || (owner === undefined && hasLabelsOf(existing, wanted))) {
    configMaps.wrote(await client.apply(CONFIG_MAPS, wanted, how));
    return null;
  }
  const isFormer = owner?.kind === KIND && owner.name === name && owner.apiVersion.startsWith(`${GROUP}/`);
  const age = now().getTime() - Date.parse(object.metadata.creationTimestamp ?? '');
  if (isFormer && !(age > COLLECTION_MS)) return 'Waits';
  const whose = owner === undefined ? 'nobody' : `${isFormer ? 'a former ' : ''}${owner.kind} ${owner.name}`;
  const help = isFormer ? 'delete that ConfigMap' : 'rename the tunnel or delete that ConfigMap';
  const message = `ConfigMap ${place.name} is there already and belongs to ${whose}: ${help}.`;
  return { reason: 'Conflict', message };
};

type Needs = {
  readonly client: KubeClient;
  readonly configMaps: OwnWrites<ConfigMap>;
  readonly now: () => Date;
};

/** Whether a ConfigMap is as its tunnel wants it: as it comes back after our own write. */
export const isProvided = (configMap: ConfigMap, tunnels: Store<KubeObject>): boolean => {
  const owner = controllerOf(configMap);
  const tunnel = owner && tunnels.get(makeKey(owner.name, configMap.metadata.namespace));
  if (tunnel === undefined) return false;
  const plan = planOf(tunnel);
  return plan.refusal === null && isAs(configMap, configMapFor(tunnel, plan.data));
};

/** Whether all that is ours of it is there; labels and owners of others, and how ours blocks a deletion, are not. */
const isAs = (existing: ConfigMap, wanted: ConfigMap): boolean => {
  const [ours] = wanted.metadata.ownerReferences ?? [];
  const owner = controllerOf(existing);
  return (
    owner !== undefined &&
    isDeepStrictEqual({ ...owner, blockOwnerDeletion: undefined }, { ...ours, blockOwnerDeletion: undefined }) &&
    hasLabelsOf(existing, wanted) &&
    isDeepStrictEqual(existing.data ?? {}, wanted.data)
  );
};

/** One that bears our labels and has no controller is adopted, as client-go's ControllerRefManager does. */
const hasLabelsOf = (existing: KubeObject, wanted: KubeObject): boolean =>
  Object.entries(wanted.metadata.labels ?? {}).every(([key, value]) => existing.metadata.labels?.[key] === value);

const configMapFor = ({ metadata }: KubeObject, data: Readonly<Record<string, string>>): ConfigMap => {
  const { name = '', namespace = 'default', uid = '' } = metadata;
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: configMapName(name),
      namespace,
      labels: { ...MANAGED_BY, 'autossh.dev/tunnel': name },
      ownerReferences: [{ apiVersion: API_VERSION, kind: KIND, name, uid, controller: true }],
    },
    data,
  };
};
