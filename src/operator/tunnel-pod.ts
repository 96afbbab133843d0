import { containerName, TUNNEL_ANNOTATION_PREFIX } from '../api/names.ts';
import type { KubeObject } from '../kube/object.ts';

/** Of a Pod, what the controller looks at. */
export type Pod = KubeObject & {
  readonly spec?: {
    readonly initContainers?: readonly {
      readonly name: string;
      readonly args?: readonly string[];
      readonly command?: readonly string[];
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly initContainerStatuses?: readonly {
      readonly name: string;
      readonly state?: { readonly running?: { readonly startedAt?: string } };
    }[];
  };
};

/** The tunnels a pod asks for, sorted. */
export const tunnelNamesOf = (pod: KubeObject): string[] =>
  Object.keys(pod.metadata.annotations ?? {})
    .filter((key) => key.startsWith(TUNNEL_ANNOTATION_PREFIX))
    .map((key) => key.slice(TUNNEL_ANNOTATION_PREFIX.length))
    .sort();

/** Whether there is still something to expect of the pod. */
export const isLive = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp === undefined && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed';

/** How the sidecar of a tunnel stands in a pod. */
export type Sidecar =
  | { readonly state: 'Missing' }
  /** Not started yet, or just restarting. */
  | { readonly state: 'NotRunning' }
  /** `startedAt` in Unix milliseconds. */
  | { readonly state: 'Running'; readonly host: string; readonly port: number; readonly startedAt: number };

export const sidecarIn = (pod: Pod, tunnel: string): Sidecar => {
  const name = containerName(tunnel);
  const container = pod.spec?.initContainers?.find((one) => one.name === name);
  if (container === undefined) return { state: 'Missing' };
  const words = [...(container.command ?? []), ...(container.args ?? [])];
  const port = Number(words[words.indexOf('--http-port') + 1]);
  const running = pod.status?.initContainerStatuses?.find((one) => one.name === name)?.state?.running;
  const host = pod.status?.podIP;
  return running !== undefined && host !== undefined && Number.isInteger(port)
    ? { state: 'Running', host, port, startedAt: Date.parse(running.startedAt ?? '') || 0 }
    : { state: 'NotRunning' };
};
