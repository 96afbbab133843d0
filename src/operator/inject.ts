import { isDeepStrictEqual } from 'node:util';
import {
  containerName,
  HEALTH_PORT,
  INJECT_LABEL,
  SIDECAR_ANNOTATION_PREFIX,
  TUNNEL_ANNOTATION_PREFIX,
} from '../api/names.ts';
import { sidecarOf } from '../api/ssh-tunnel.ts';
import { appVariables, withVariables } from './app-env.ts';
import { clashesOf, type Planned } from './clashes.ts';
import { contentHash } from './config-hash.ts';
import { judgeTunnel } from './judge-tunnel.ts';
import type { Container, Pod, Volume } from './pod.ts';
import { renderSidecar, type SidecarSettings } from './render-sidecar.ts';

export type InjectInput = SidecarSettings & {
  readonly pod: Pod;
  /** Of the request: a pod that is being made need not carry it. */
  readonly namespace: string;
  /** SshTunnels of that namespace by name, as the API server has them; they are judged here. */
  readonly tunnels: ReadonlyMap<string, unknown>;
};

export type Injection =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'patched'; readonly pod: Pod }
  /** Everything that is wrong, in one message for the person who made the workload. */
  | { readonly kind: 'refused'; readonly message: string };

/**
 * The pod with a sidecar for each tunnel that it asks for. Pure: the same inputs, the same bytes; and twice is once, since the API
 * server may call again after another webhook. A sidecar that is there already stays as that webhook left it (a mirrored image, say),
 * unless the tunnel would now have another one.
 *
 * config.autossh.dev/<tunnel> is not set here: a pod may start before its ConfigMap is written, and the controller's touch afterwards
 * is what makes the kubelet look again.
 */
export const injectPod = ({ pod, namespace, tunnels, ...settings }: InjectInput): Injection => {
  if (!asksForTunnels(pod)) return { kind: 'unchanged' };
  const names = askedTunnels(pod);
  if (names.length === 0) return refused([NOTHING_NAMED]);

  const problems: string[] = [];
  const { rest, found } = takeOut(pod);
  const planned = names.flatMap((name, index): Planned[] => {
    const verdict = judgeTunnel(name, namespace, tunnels.get(name));
    if (!verdict.ok) {
      problems.push(verdict.problem);
      return [];
    }
    const { tunnel } = verdict;
    const place = {
      healthPort: sidecarOf(tunnel.spec).healthPort ?? HEALTH_PORT + index,
      portName: index === 0 ? 'autossh' : `autossh-${index + 1}`,
      hostNetwork: pod.spec.hostNetwork === true,
    };
    return [{ tunnel, place, rendered: renderSidecar(tunnel, settings, place) }];
  });
  problems.push(...clashesOf(planned, rest));
  if (problems.length > 0) return refused(problems);

  const patched = putIn(pod, rest, planned, found);
  return isDeepStrictEqual(patched, pod) ? { kind: 'unchanged' } : { kind: 'patched', pod: patched };
};

export const asksForTunnels = (pod: Pod): boolean => pod.metadata.labels?.[INJECT_LABEL] === 'true';

/** Names of the tunnels that the annotations of a pod or of a pod template name, in the order of the sidecars. */
export const askedTunnels = ({ metadata }: Pick<Pod, 'metadata'>): string[] =>
  namedBy(metadata.annotations, TUNNEL_ANNOTATION_PREFIX);

const namedBy = (annotations: Readonly<Record<string, string>> = {}, prefix: string): string[] =>
  Object.keys(annotations)
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length))
    .sort();

const NOTHING_NAMED = `the label ${INJECT_LABEL}="true" is there, but no annotation names a tunnel: add ${TUNNEL_ANNOTATION_PREFIX}<name of an SshTunnel>: "" to the pod template, or remove the label`;

const refused = (problems: readonly string[]): Injection => ({
  kind: 'refused',
  message: `autossh-operator cannot give this pod its tunnels: ${problems.join('; ')}`,
});

/** What an earlier call put in for one tunnel. */
type Found = { readonly hash: string; readonly container: Container; readonly volumes: readonly Volume[] };

/** The pod as it would be without us, and what of ours was in it. Only what bears the mark of an injection is ours. */
const takeOut = (pod: Pod): { rest: Pod; found: ReadonlyMap<string, Found> } => {
  const { annotations = {} } = pod.metadata;
  const { initContainers = [], volumes = [] } = pod.spec;
  const found = new Map<string, Found>();
  for (const name of namedBy(annotations, SIDECAR_ANNOTATION_PREFIX)) {
    const container = initContainers.find((one) => one.name === containerName(name));
    if (container === undefined) continue;
    const mounted = new Set((container.volumeMounts ?? []).map((mount) => mount.name));
    found.set(name, {
      hash: annotations[SIDECAR_ANNOTATION_PREFIX + name] ?? '',
      container,
      volumes: volumes.filter((one) => mounted.has(one.name) && one.name.startsWith(`${containerName(name)}-`)),
    });
  }
  const ours = [...found.values()];
  const rest = {
    ...pod,
    metadata: {
      ...pod.metadata,
      annotations: Object.fromEntries(
        Object.entries(annotations).filter(([key]) => !key.startsWith(SIDECAR_ANNOTATION_PREFIX)),
      ),
    },
    spec: {
      ...pod.spec,
      initContainers: initContainers.filter((one) => !ours.some(({ container }) => container === one)),
      volumes: volumes.filter((one) => !ours.some((its) => its.volumes.includes(one))),
    },
  };
  return { rest, found };
};

const putIn = (pod: Pod, rest: Pod, planned: readonly Planned[], found: ReadonlyMap<string, Found>): Pod => {
  const variables = planned.flatMap(({ tunnel }) => appVariables(tunnel));
  const sidecars = planned.map(({ tunnel, rendered }) => {
    const { name } = tunnel.metadata;
    const { order, imagePullSecrets } = sidecarOf(tunnel.spec);
    const hash = contentHash(rendered);
    const earlier = found.get(name);
    const asBefore = earlier?.hash === hash ? earlier : undefined;
    return {
      mark: [SIDECAR_ANNOTATION_PREFIX + name, hash] as const,
      order,
      imagePullSecrets,
      container: asBefore?.container ?? rendered.container,
      volumes: rendered.volumes.map((one) => asBefore?.volumes.find((before) => before.name === one.name) ?? one),
    };
  });
  const inOrder = (order: 'First' | 'Last') =>
    sidecars.filter((one) => one.order === order).map(({ container }) => container);
  const others = (rest.spec.initContainers ?? []).map((one) => withVariables(one, variables));
  const split = endOfSidecars(others);
  const volumes = sidecars.flatMap((one) => one.volumes);
  const inPlace = (pod.spec.volumes ?? []).filter((one) => rest.spec.volumes?.includes(one) || volumes.includes(one));
  const present = rest.spec.imagePullSecrets ?? [];
  const pullSecrets = sidecars
    .flatMap(({ imagePullSecrets }) => imagePullSecrets.map(({ name }) => name))
    .filter((name, index, all) => all.indexOf(name) === index && !present.some((one) => one.name === name))
    .map((name) => ({ name }));
  return {
    ...rest,
    metadata: {
      ...rest.metadata,
      annotations: { ...rest.metadata.annotations, ...Object.fromEntries(sidecars.map(({ mark }) => mark)) },
    },
    spec: {
      ...rest.spec,
      initContainers: [...inOrder('First'), ...others.slice(0, split), ...inOrder('Last'), ...others.slice(split)],
      containers: rest.spec.containers.map((one) => withVariables(one, variables)),
      // What is there keeps its place: the API server adds volumes behind ours, and a mere move would count as a change.
      volumes: [...inPlace, ...volumes.filter((one) => !inPlace.includes(one))],
      ...(pullSecrets.length === 0 ? {} : { imagePullSecrets: [...present, ...pullSecrets] }),
    },
  };
};

/** Behind the last sidecar of others, so that the init containers after it have the tunnel; where there is none, behind all. */
const endOfSidecars = (initContainers: readonly Container[]): number => {
  const last = initContainers.findLastIndex(({ restartPolicy }) => restartPolicy === 'Always');
  return last < 0 ? initContainers.length : last + 1;
};
