import type { InjectInput } from '../../src/operator/inject.ts';
import { injectPod } from '../../src/operator/inject.ts';
import type { Container, Pod } from '../../src/operator/pod.ts';
import { tunnelOf } from './tunnels.ts';

export const IMAGE = 'registry.example/autossh-operator:1.2.3';

/** SshTunnels by name, as the API server would have them. */
export const tunnelsNamed = (
  specs: Readonly<Record<string, Parameters<typeof tunnelOf>[0]>>,
): Map<string, { metadata: object; spec: unknown }> =>
  new Map(
    Object.entries(specs).map(([name, spec]) => [
      name,
      { ...tunnelOf(spec), metadata: { name, namespace: 'shop', generation: 1 } },
    ]),
  );

/** A pod of one container that asks for these tunnels. */
export const podAsking = (names: readonly string[], spec: Partial<Pod['spec']> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'app',
    labels: { 'autossh.dev/inject': 'true' },
    annotations: Object.fromEntries(names.map((name) => [`tunnel.autossh.dev/${name}`, ''])),
  },
  spec: { containers: [{ name: 'app', image: 'app:1' }], ...spec },
});

export const inject = (pod: Pod, tunnels: InjectInput['tunnels'], settings: Partial<InjectInput> = {}) =>
  injectPod({ pod, namespace: 'shop', tunnels, image: IMAGE, ...settings });

/** The pod after injection; throws where it was not patched. */
export const injected = (...args: Parameters<typeof inject>): Pod => {
  const injection = inject(...args);
  if (injection.kind !== 'patched')
    throw new Error(injection.kind === 'refused' ? injection.message : 'expected a patched pod; got unchanged');
  return injection.pod;
};

/** The message; throws where the pod was not refused. */
export const refusal = (...args: Parameters<typeof inject>): string => {
  const injection = inject(...args);
  if (injection.kind !== 'refused') throw new Error(`expected a refusal; got ${injection.kind}`);
  return injection.message;
};

export const sidecarIn = (pod: Pod, tunnel: string): Container => {
  const found = pod.spec.initContainers?.find(({ name }) => name === `autossh-${tunnel}`);
  if (found === undefined) throw new Error(`no sidecar of ${tunnel}`);
  return found;
};
