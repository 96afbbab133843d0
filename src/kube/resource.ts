/**
 * A kind of object and where the API server keeps it: apimachinery's meta.RESTMapping. Written down rather than discovered, one request
 * less and nothing to guess.
 */
export type Resource = {
  /** `v1`, `apps/v1`, `autossh.dev/v1alpha1`. */
  readonly apiVersion: string;
  readonly kind: string;
  /** As in the URL: `pods`. */
  readonly plural: string;
  readonly namespaced: boolean;
};

const namespaced = (apiVersion: string, kind: string, plural: string): Resource => ({
  apiVersion,
  kind,
  plural,
  namespaced: true,
});
const clusterWide = (apiVersion: string, kind: string, plural: string): Resource => ({
  apiVersion,
  kind,
  plural,
  namespaced: false,
});

export const PODS = namespaced('v1', 'Pod', 'pods');
export const CONFIG_MAPS = namespaced('v1', 'ConfigMap', 'configmaps');
export const SECRETS = namespaced('v1', 'Secret', 'secrets');
export const SERVICES = namespaced('v1', 'Service', 'services');
export const NAMESPACES = clusterWide('v1', 'Namespace', 'namespaces');
export const DEPLOYMENTS = namespaced('apps/v1', 'Deployment', 'deployments');
export const REPLICA_SETS = namespaced('apps/v1', 'ReplicaSet', 'replicasets');
export const STATEFUL_SETS = namespaced('apps/v1', 'StatefulSet', 'statefulsets');
export const DAEMON_SETS = namespaced('apps/v1', 'DaemonSet', 'daemonsets');
export const JOBS = namespaced('batch/v1', 'Job', 'jobs');
export const NETWORK_POLICIES = namespaced('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies');
export const POD_DISRUPTION_BUDGETS = namespaced('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets');
export const LEASES = namespaced('coordination.k8s.io/v1', 'Lease', 'leases');
export const EVENTS = namespaced('events.k8s.io/v1', 'Event', 'events');
export const MUTATING_WEBHOOKS = clusterWide(
  'admissionregistration.k8s.io/v1',
  'MutatingWebhookConfiguration',
  'mutatingwebhookconfigurations',
);
export const VALIDATING_WEBHOOKS = clusterWide(
  'admissionregistration.k8s.io/v1',
  'ValidatingWebhookConfiguration',
  'validatingwebhookconfigurations',
);

export type Place = {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
};

/**
 * The path of an object, or without a name of a collection (of all namespaces when none is given): client-go's rest/request.go `URL`.
 * Throws when a namespace is needed and missing: without it a name would be looked for in the wrong collection.
 */
export const pathOf = (resource: Resource, { namespace, name, subresource }: Place = {}): string => {
  if (resource.namespaced && name !== undefined && !namespace)
    throw new TypeError(`expected a namespace for ${resource.kind} ${JSON.stringify(name)}; got none`);
  const root = resource.apiVersion.includes('/') ? '/apis' : '/api';
  const parts = [root, resource.apiVersion];
  if (resource.namespaced && namespace) parts.push('namespaces', encodeURIComponent(namespace));
  parts.push(resource.plural);
  if (name !== undefined) parts.push(encodeURIComponent(name));
  if (subresource !== undefined) parts.push(subresource);
  return parts.join('/');
};
