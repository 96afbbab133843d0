import { API_VERSION, configMapName, KIND } from '../api/names.ts';
import { isConflict } from '../kube/api-error.ts';
import type { KubeClient } from '../kube/client.ts';
import { controllerOf, type KubeObject, makeKey } from '../kube/object.ts';
import { CONFIG_MAPS } from '../kube/resource.ts';
import type { Store } from '../kube/store.ts';
import { configHash } from './config-hash.ts';
import { FIELD_MANAGER, MANAGED_BY } from './resource.ts';
import { planOf, type TunnelPlan } from './tunnel-plan.ts';

export type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> };

/** Writes it where it is not as planned. Null, or why it cannot be: rejects with what the API server refuses. */
export const keepConfigMap = async (
  { data, hash }: Extract<TunnelPlan, { refusal: null }>,
  object: KubeObject,
  { client, configMaps }: { readonly client: KubeClient; readonly configMaps: Store<ConfigMap> },
  signal: AbortSignal,
): Promise<{ readonly reason: 'Conflict'; readonly message: string } | null> => {
  const { namespace = 'default', name = '' } = object.metadata;
  const place = { namespace, name: configMapName(name) };
  const how = { fieldManager: FIELD_MANAGER, force: true, signal };
  const wanted = configMapFor(object, data);
  let existing = configMaps.get(makeKey(place.name, namespace));
  if (existing === undefined)
    try {
      // The cache holds only our own; one of somebody else must not be overwritten.
      await client.apply(CONFIG_MAPS, wanted, { ...how, createOnly: true });
      return null;
    } catch (error) {
      if (!isConflict(error)) throw error;
      existing = await client.get<ConfigMap>(CONFIG_MAPS, place, { signal });
    }
  const owner = controllerOf(existing);
  if (owner?.uid !== object.metadata.uid)
    return {
      reason: 'Conflict',
      message: `ConfigMap ${place.name} is there already and belongs to ${owner ? `${owner.kind} ${owner.name}` : 'nobody'}: rename the tunnel or delete that ConfigMap.`,
    };
  if (configHash(existing.data ?? {}) !== hash) await client.apply(CONFIG_MAPS, wanted, how);
  return null;
};

/** Whether a ConfigMap is as its tunnel wants it: as it comes back after our own write. */
export const isProvided = (configMap: ConfigMap, tunnels: Store<KubeObject>): boolean => {
  const owner = controllerOf(configMap);
  const tunnel = owner && tunnels.get(makeKey(owner.name, configMap.metadata.namespace));
  if (tunnel === undefined || owner?.uid !== tunnel.metadata.uid) return false;
  const plan = planOf(tunnel);
  return plan.refusal === null && plan.hash === configHash(configMap.data ?? {});
};

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
