import { isDeepStrictEqual } from 'node:util';
import { CONFIG_ANNOTATION_PREFIX, containerName, TUNNEL_ANNOTATION_PREFIX } from '../api/names.ts';
import type { KubeObject } from '../kube/object.ts';

/** Of a Pod, what the controller looks at. */
export type Pod = KubeObject & {
  readonly spec?: {
    readonly restartPolicy?: string;
    readonly containers?: readonly {
      readonly name?: string;
      readonly restartPolicy?: string;
      readonly restartPolicyRules?: unknown;
    }[];
    readonly initContainers?: readonly {
      readonly name: string;
      readonly args?: readonly string[];
      readonly command?: readonly string[];
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly state?: { readonly terminated?: { readonly exitCode?: number } };
    }[];
    readonly initContainerStatuses?: readonly {
      readonly name: string;
      readonly ready?: boolean;
      readonly state?: { readonly running?: { readonly startedAt?: string } };
    }[];
  };
};

/** The tunnels a pod asks for, sorted: the order of their sidecars. */
export const tunnelNamesOf = ({ metadata }: Pick<KubeObject, 'metadata'>): string[] =>
  tunnelsUnder(TUNNEL_ANNOTATION_PREFIX, metadata.annotations);

/** The tunnels that annotations with this prefix are about, sorted. */
export const tunnelsUnder = (prefix: string, annotations: Readonly<Record<string, string>> = {}): string[] =>
  Object.keys(annotations)
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length))
    .sort();

/**
 * What of a pod stays in the cache: what this file and the reconciler read. A whole pod is 3 to 20 kB, this is a few hundred bytes.
 * Containers and annotations of tunnels that the pod does not ask for are none of ours.
 */
export const trimPod = ({ metadata, spec, status }: Pod): Pod => {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, annotations = {} } = metadata;
  const names = new Set(tunnelsUnder(TUNNEL_ANNOTATION_PREFIX, annotations).map(containerName));
  const ours = ([key]: readonly [string, string]) =>
    key.startsWith(TUNNEL_ANNOTATION_PREFIX) || key.startsWith(CONFIG_ANNOTATION_PREFIX);
  const containers = spec?.initContainers?.filter((one) => names.has(one.name)) ?? [];
  const statuses = status?.initContainerStatuses?.filter((one) => names.has(one.name)) ?? [];
  const { phase, podIP } = status ?? {};
  // Where the pod may come to an end by itself, for isLive: most never do.
  const restartPolicy = mayEnd(spec) ? spec?.restartPolicy : undefined;
  const containerStatuses =
    mayEnd(spec) && containers.length > 0
      ? status?.containerStatuses?.map(({ name, state }) => defined({ name, state: ended(state) }))
      : undefined;
  return {
    metadata: defined({
      ...{ name, namespace, uid, resourceVersion, deletionTimestamp },
      annotations: Object.fromEntries(Object.entries(annotations).filter(ours)),
    }),
    ...(containers.length === 0
      ? {}
      : {
          spec: defined({
            restartPolicy,
            initContainers: containers.map(({ name, args, command }) => defined({ name, args, command })),
          }),
        }),
    ...(status === undefined
      ? {}
      : {
          status: defined({
            phase,
            podIP,
            containerStatuses,
            initContainerStatuses: statuses.map(({ name, ready, state }) =>
              defined({
                name,
                // For hasNews: the sidecar's own word on its connection.
                ready,
                state: state?.running && { running: defined({ startedAt: state.running.startedAt }) },
              }),
            ),
          }),
        }),
  };
};

/**
 * Whether an update of a trimmed pod is worth a look at its tunnels: pods are updated for many reasons, and each look asks all pods of
 * a tunnel.
 */
export const hasNews = (now: Pod, old: Pod): boolean => !isDeepStrictEqual(unversioned(now), unversioned(old));

const unversioned = ({ metadata, ...rest }: Pod): Pod => ({
  ...rest,
  metadata: { ...metadata, resourceVersion: '' },
});

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };
const defined = <T extends object>(object: T): Defined<T> =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>;

/** Whether there is still something to expect of the pod. One whose app has come to its end still has its sidecars for a moment. */
export const isLive = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  pod.status?.phase !== 'Succeeded' &&
  pod.status?.phase !== 'Failed' &&
  !hasRun(pod);

/** Whether all of its containers have ended and none is started again: the kubelet's own rule for the end of a pod. */
const hasRun = ({ spec, status }: Pod): boolean => {
  const all = mayEnd(spec) ? (status?.containerStatuses ?? []) : [];
  const isOver = (exitCode: number | undefined) => spec?.restartPolicy === 'Never' || exitCode === 0;
  return (
    all.length > 0 && all.every(({ state }) => state?.terminated !== undefined && isOver(state.terminated.exitCode))
  );
};

/** Containers with rules of their own (Kubernetes 1.34 and newer) are left to the kubelet: what ended may be started again. */
const mayEnd = (spec: Pod['spec']): boolean =>
  (spec?.restartPolicy === 'Never' || spec?.restartPolicy === 'OnFailure') &&
  !spec.containers?.some((one) => one.restartPolicy !== undefined || one.restartPolicyRules !== undefined);
type State = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number]['state'];
const ended = (state: State) => state?.terminated && { terminated: defined({ exitCode: state.terminated.exitCode }) };

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
