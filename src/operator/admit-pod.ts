import type { AdmissionAnswer, AdmissionRequest } from '../kube/admission-review.ts';
import { isNotFound } from '../kube/api-error.ts';
import type { KubeClient } from '../kube/client.ts';
import { type KubeObject, makeKey } from '../kube/object.ts';
import type { Store } from '../kube/store.ts';
import { injectPod } from './inject.ts';
import { tunnelNamesOf } from './pod.ts';
import { SSH_TUNNELS } from './resource.ts';

export type Admission = {
  readonly client: KubeClient;
  readonly tunnels: Store<KubeObject>;
  readonly settings: { readonly image: string; readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never' };
  readonly signal: AbortSignal;
};

/**
 * The answer to the creation of a pod that asks for tunnels. A tunnel that the cache does not have is asked for: it may have been
 * applied a moment ago, in the same file as the workload.
 */
export const admitPod = async (
  { object, namespace = 'default' }: AdmissionRequest,
  { client, tunnels, settings, signal }: Admission,
): Promise<AdmissionAnswer> => {
  if (object === undefined) return { allowed: true };
  const found = await Promise.all(
    tunnelNamesOf(object).map(async (name): Promise<[string, KubeObject] | null> => {
      const tunnel = tunnels.get(makeKey(name, namespace)) ?? (await ask(client, namespace, name, signal));
      return tunnel === undefined ? null : [name, tunnel];
    }),
  );
  const result = injectPod({
    pod: object,
    namespace,
    tunnels: new Map(found.filter((one) => one !== null)),
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
  });
  switch (result.kind) {
    case 'refused':
      return { allowed: false, message: result.message };
    case 'unchanged':
      return { allowed: true };
    case 'patched':
      return { allowed: true, object: result.pod };
  }
};

const ask = (
  client: KubeClient,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<KubeObject | undefined> =>
  client.get<KubeObject>(SSH_TUNNELS, { namespace, name }, { signal }).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
