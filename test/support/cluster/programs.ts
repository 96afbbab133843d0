import {
  apiServerVersion,
  corednsVersion,
  helmVersion,
  kubernetesVersion,
  newestKubernetesVersion,
  oldestKubernetesVersion,
  pauseVersion,
} from './versions.ts';

/** What the harness can get hold of, and how. Pure data: binaries.ts acts on it. */
export type Program = {
  version: string;
  /** A version found on the machine must match this to be taken instead of our own build. Absent: only our own build will do. */
  accepted?: { ask: readonly string[]; answer: RegExp };
  source:
    | { kind: 'module'; folder: string; package: string; ldflags: string }
    | { kind: 'install'; package: string }
    | { kind: 'debian'; package: string };
  /** Seconds of a build on two cores with an empty Go cache: for the progress line, not a limit. */
  estimateSeconds: number;
};

/** The Go modules that pin a version of Kubernetes, beside this file. */
const MODULES: Readonly<Record<string, string>> = {
  [oldestKubernetesVersion]: 'binaries/kubernetes-oldest',
  [kubernetesVersion]: 'binaries/kubernetes',
  [newestKubernetesVersion]: 'binaries/kubernetes-newest',
};

type Built = { version?: string; ask?: readonly string[] };

function kubernetes(
  name: string,
  estimateSeconds: number,
  { version = kubernetesVersion, ask = ['--version'] }: Built = {},
): Program {
  const [major, minor] = version.slice(1).split('.') as [string, string, string];
  // Without these the programs call themselves v0.0.0-master and refuse to negotiate versions.
  const stamped = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].flatMap((target) => [
    `-X ${target}.gitVersion=${version}`,
    `-X ${target}.gitMajor=${major}`,
    `-X ${target}.gitMinor=${minor}`,
    `-X ${target}.gitTreeState=clean`,
  ]);
  return {
    version,
    accepted: { ask, answer: new RegExp(`\\bv${major}\\.${minor}\\.\\d+\\b`) },
    source: {
      kind: 'module',
      folder: MODULES[version] ?? '',
      package: `k8s.io/kubernetes/cmd/${name}`,
      ldflags: stamped.join(' '),
    },
    estimateSeconds,
  };
}

export const programs = {
  etcd: {
    version: '3.4 or newer',
    accepted: { ask: ['--version'], answer: /etcd Version: 3\.([4-9]|\d\d)\./ },
    source: { kind: 'debian', package: 'etcd-server' },
    estimateSeconds: 10,
  },
  'kube-apiserver': kubernetes('kube-apiserver', 350, { version: apiServerVersion }),
  kubectl: kubernetes('kubectl', 30, { ask: ['version', '--client'] }),
  'kube-controller-manager': kubernetes('kube-controller-manager', 100),
  'kube-scheduler': kubernetes('kube-scheduler', 10),
  kubelet: kubernetes('kubelet', 30),
  'kube-proxy': kubernetes('kube-proxy', 20),
  coredns: {
    version: corednsVersion,
    accepted: { ask: ['-version'], answer: /CoreDNS-1\.1\d\./ },
    source: { kind: 'install', package: 'github.com/coredns/coredns' },
    estimateSeconds: 210,
  },
  helm: {
    version: helmVersion,
    accepted: { ask: ['version', '--short'], answer: /^v4\./ },
    source: { kind: 'install', package: 'helm.sh/helm/v4/cmd/helm' },
    estimateSeconds: 210,
  },
  pause: {
    version: pauseVersion,
    source: { kind: 'module', folder: 'binaries/pause', package: '.', ldflags: '' },
    estimateSeconds: 5,
  },
} as const satisfies Record<string, Program>;

export type ProgramName = keyof typeof programs;

/** Everything built from one version of one source lies in one folder of the cache. */
export function cacheFolder(name: ProgramName, platform: string): string {
  const { version, source }: Program = programs[name];
  const family = source.kind === 'module' ? source.folder.slice(source.folder.lastIndexOf('/') + 1) : name;
  return `${family}-${version}-${platform}`;
}
