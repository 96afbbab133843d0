import { documentOf } from '../api/hand-over.ts';
import { pagePortOf } from '../api/names.ts';
import { meet } from '../api/spec-rules.ts';
import { type SshTunnel, sidecarOf, uidOf } from '../api/ssh-tunnel.ts';
import { type AppVariable, appVariables } from './app-env.ts';
import type { Container, Pod } from './pod.ts';
import type { RenderedSidecar, SidecarPlace } from './render-sidecar.ts';

/** A tunnel, and what injection is about to add for it. */
export type Planned = { readonly tunnel: SshTunnel; readonly place: SidecarPlace; readonly rendered: RenderedSidecar };

/** Why the sidecars cannot live in one pod with each other and with what it has: all reasons, each with a way out. */
export const clashesOf = (planned: readonly Planned[], pod: Pod): string[] => [
  ...new Set([
    ...nameClashes(planned, pod),
    ...portClashes(planned, pod),
    ...variableClashes(planned, pod),
    ...uidClashes(planned, pod),
  ]),
];

/** All containers of a pod, in the order in which they start. */
export const containersOf = ({ spec }: Pod): Container[] => [...(spec.initContainers ?? []), ...spec.containers];

const nameClashes = (planned: readonly Planned[], pod: Pod): string[] => {
  const containers = new Set(containersOf(pod).map(({ name }) => name));
  const volumes = new Set((pod.spec.volumes ?? []).map(({ name }) => name));
  const ports = new Map(
    containersOf(pod).flatMap(({ name, ports = [] }) => ports.map((port) => [port.name, name] as const)),
  );
  return planned.flatMap(({ place, rendered }) => {
    const { name } = rendered.container;
    const portOwner = place.hostNetwork ? undefined : ports.get(place.portName);
    return [
      ...(containers.has(name) ? [`the pod has a container "${name}" of its own: give it another name`] : []),
      ...rendered.volumes
        .filter((volume) => volumes.has(volume.name))
        .map((volume) => `the pod has a volume "${volume.name}" of its own: give it another name`),
      ...(portOwner === undefined
        ? []
        : [`container "${portOwner}" has a port named "${place.portName}", as ${name} will: give it another name`]),
    ];
  });
};

/** Who wants a port, on which of the pod's addresses. */
type Claim = {
  readonly port: number;
  readonly host: string;
  readonly who: string;
  /** Claims of one group are not held against each other: the schema did that for forwards, the pod's own are its own affair. */
  readonly group: string;
  readonly wayOut: string;
};

const ALL_ADDRESSES = '*';
const LOOPBACK = '127.0.0.1';

const portClashes = (planned: readonly Planned[], pod: Pod): string[] => {
  // The pod's own come last, so that the way out is always one of a tunnel.
  const claims = [...planned.flatMap(forwardClaims), ...planned.flatMap(healthClaims), ...podClaims(pod)];
  return claims.flatMap((one, index) =>
    claims
      .slice(index + 1)
      .filter((other) => one.group !== other.group && meet(one, other))
      .map((other) => `port ${one.port} is wanted by ${one.who} and by ${other.who}: ${one.wayOut}`),
  );
};

const forwardClaims = ({ tunnel }: Planned): Claim[] => {
  const { name, forwards } = documentOf(tunnel);
  return forwards.flatMap(({ kind, name: forward, listen }) =>
    kind === 'remote' || !('port' in listen)
      ? []
      : [
          {
            ...listen,
            who: `forward "${forward}" of tunnel "${name}"`,
            group: `forwards of ${name}`,
            wayOut: 'give the forward another listen.port',
          },
        ],
  );
};

const healthClaims = ({ tunnel, place }: Planned): Claim[] => {
  const { name } = tunnel.metadata;
  const rest = { group: `probes of ${name}`, wayOut: 'set sidecar.healthPort of the tunnel' };
  const probes = { port: place.healthPort, host: ALL_ADDRESSES, who: `the probes of tunnel "${name}"`, ...rest };
  const page = {
    port: pagePortOf(place.healthPort),
    host: LOOPBACK,
    who: `the status page of tunnel "${name}" (100 beside its health port)`,
    ...rest,
    // Two pages meet where two health ports do: that is said once.
    group: 'status pages',
  };
  return place.hostNetwork ? [probes] : [probes, page];
};

/** Where the app listens is not known beyond the port; most listen everywhere. */
const podClaims = (pod: Pod): Claim[] =>
  containersOf(pod).flatMap(({ name, ports = [] }) =>
    ports
      .filter(({ protocol = 'TCP' }) => protocol === 'TCP')
      .map(({ containerPort }) => ({
        port: containerPort,
        host: ALL_ADDRESSES,
        who: `container "${name}"`,
        group: 'pod',
        wayOut: 'give the container another port',
      })),
  );

const variableClashes = (planned: readonly Planned[], pod: Pod): string[] => {
  const variables = planned.flatMap(({ tunnel }) => appVariables(tunnel));
  const twice = variables.flatMap((one, index) =>
    variables
      .slice(index + 1)
      .filter(({ name }) => name === one.name)
      .map((other) => `variable ${one.name} is set by ${origin(one)} and by ${origin(other)}: rename one of them`),
  );
  const taken = containersOf(pod).flatMap(({ name: container, env = [] }) =>
    variables
      .filter(({ name, value }) => env.some((one) => one.name === name && one.value !== value))
      .map(
        (variable) =>
          `variable ${variable.name} is set by ${origin(variable)} and, to something else, by container "${container}": remove it there, or rename it in the tunnel`,
      ),
  );
  return [...twice, ...taken];
};

const origin = ({ tunnel, forward }: AppVariable): string => `forward "${forward}" of tunnel "${tunnel}"`;

/** A process of the same uid that sees the sidecar's processes can read the key through /proc. */
const uidClashes = (planned: readonly Planned[], pod: Pod): string[] => {
  if (pod.spec.shareProcessNamespace !== true) return [];
  return containersOf(pod).flatMap(({ name, securityContext }) => {
    const uid = securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser;
    return planned
      .filter(({ tunnel }) => uid !== undefined && uidOf(sidecarOf(tunnel.spec)) === uid)
      .map(
        ({ tunnel }) =>
          `container "${name}" shares the process namespace and has the uid ${uid} of tunnel "${tunnel.metadata.name}", so it could read the key: set sidecar.runAsUser of the tunnel to another`,
      );
  });
};
