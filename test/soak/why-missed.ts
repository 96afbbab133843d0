import { configMapData } from '../../src/api/hand-over.ts';
import { parseSshTunnel } from '../../src/api/parse.ts';
import { controllerOf, type KubeObject } from '../../src/kube/object.ts';
import { configHash } from '../../src/operator/config-hash.ts';

export type Stored = KubeObject & { data?: Record<string, string> };
export type Tunnel = KubeObject & {
  spec?: unknown;
  status?: { observedGeneration?: number; conditions?: { type: string; status: string }[] };
};

/** In what a tunnel on the server, with its ConfigMap, is not as its specification asks for; undefined when all is well. */
export const whyMissed = (tunnel: Tunnel, configMap: Stored | undefined): string | undefined => {
  const { status, metadata } = tunnel;
  if (status?.observedGeneration !== metadata.generation)
    return `expected generation ${metadata.generation} to be observed; got ${status?.observedGeneration}`;
  if (!status?.conditions?.some(({ type, status: is }) => type === 'Accepted' && is === 'True')) return 'not accepted';
  if (configMap === undefined || controllerOf(configMap)?.uid !== metadata.uid) return 'has no ConfigMap of its own';
  const parsed = parseSshTunnel(tunnel);
  const wanted = parsed.ok ? configHash(configMapData(parsed.value)) : '';
  return configHash(configMap.data ?? {}) === wanted ? undefined : 'its ConfigMap is of an older specification';
};
