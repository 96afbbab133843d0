import type { AdmissionAnswer, AdmissionRequest } from '../kube/admission-review.ts';
import { askedTunnels, asksForTunnels, injectPod } from './inject.ts';
import type { Pod } from './pod.ts';
import type { SidecarSettings } from './render-sidecar.ts';

export type PodAdmissionOptions = SidecarSettings & {
  /**
   * The SshTunnels of these names that the namespace has, as the API server has them; names that it has not are absent. What it throws
   * refuses the pod, whose owner tries again.
   */
  readonly tunnelsOf: (
    namespace: string,
    names: readonly string[],
    signal?: AbortSignal,
  ) => Promise<ReadonlyMap<string, unknown>>;
};

/** Answers the API server's question about a new pod; whatever else is asked is let through. No side effects, so dry runs are as real ones. */
export const createPodAdmission =
  ({ tunnelsOf, ...settings }: PodAdmissionOptions) =>
  async (request: AdmissionRequest, context?: { readonly signal: AbortSignal }): Promise<AdmissionAnswer> => {
    const pod = podOf(request);
    if (pod === null || !asksForTunnels(pod)) return { allowed: true };
    const namespace = request.namespace ?? pod.metadata.namespace ?? 'default';
    const names = askedTunnels(pod);
    const tunnels = names.length === 0 ? new Map() : await tunnelsOf(namespace, names, context?.signal);
    const injection = injectPod({ ...settings, pod, namespace, tunnels });
    switch (injection.kind) {
      case 'unchanged':
        return { allowed: true };
      case 'patched':
        return { allowed: true, object: injection.pod };
      case 'refused':
        return { allowed: false, message: injection.message };
    }
  };

const podOf = ({ operation, resource, subResource, object }: AdmissionRequest): Pod | null =>
  operation === 'CREATE' && resource.group === '' && resource.resource === 'pods' && !subResource && object
    ? (object as Pod)
    : null;
