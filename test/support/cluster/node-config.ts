/** The files that the programs of a node read. Pure: values in, text out. Each odd line was needed somewhere; it says where. */

/** containerd 1.x and 2.x read version 2. */
export function containerdConfig(settings: { sandboxImage: string; cniBin: string; cniConf: string }): string {
  return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${JSON.stringify(settings.sandboxImage)}
  # Without CAP_SYS_RESOURCE (many virtual machines) a sandbox may not lower its oom_score_adj, and fails with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  # A loaded profile would outlive the run: the kernel keeps them machine-wide.
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${JSON.stringify(settings.cniBin)}
    conf_dir = ${JSON.stringify(settings.cniConf)}
`;
}

/**
 * Each pod on a wire of its own, routed. Not a bridge: between pods on one bridge, answers to a Service's address
 * pass below iptables unless the kernel has br_netfilter. No masquerading: the host has a route back, and sees pods by their own address.
 */
export function cniConflist(podCidr: string): string {
  const config = {
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      { type: 'ptp', ipMasq: false, ipam: { type: 'host-local', subnet: podCidr, routes: [{ dst: '0.0.0.0/0' }] } },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
  return JSON.stringify(config, undefined, 2);
}

export function kubeletConfig(settings: {
  clientCa: string;
  clusterDns: string;
  cgroup: string;
  address: string;
}): string {
  return JSON.stringify(
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      address: settings.address,
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: true },
        x509: { clientCAFile: settings.clientCa },
      },
      authorization: { mode: 'Webhook' },
      containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
      clusterDomain: 'cluster.local',
      clusterDNS: [settings.clusterDns],
      // Pods of dnsPolicy Default get no name server: nothing in a test asks the world outside.
      resolvConf: '',
      cgroupDriver: 'cgroupfs',
      cgroupRoot: `/${settings.cgroup}`,
      failCgroupV1: false,
      failSwapOn: false,
      enforceNodeAllocatable: [],
      localStorageCapacityIsolation: false,
      // A developer's machine has neither an empty disk nor memory to spare: pods are not evicted for it.
      evictionHard: {
        'memory.available': '50Mi',
        'nodefs.available': '0%',
        'imagefs.available': '0%',
        'nodefs.inodesFree': '0%',
      },
      imageGCHighThresholdPercent: 100,
      oomScoreAdj: 0,
      volumePluginDir: '/var/lib/kubelet/volume-plugins',
    },
    undefined,
    2,
  );
}

/**
 * Two blocks, since the order of plugins in one is CoreDNS's own, whatever the file says: there `template` answers before `kubernetes`.
 */
export function corefile(settings: { address: string; kubeconfig: string }): string {
  return `cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
  bind ${settings.address}
  errors
  ready ${settings.address}:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig ${settings.kubeconfig} harness
  }
}
.:53 {
  bind ${settings.address}
  # Other names do not exist, said at once: a resolver walks its search list and must not wait at its end.
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`;
}

/** The name server runs beside the pods, not in one: a Service without selector and an EndpointSlice by hand lead to it. */
export function dnsManifest(settings: { clusterDns: string; address: string }): string {
  const metadata = { namespace: 'kube-system', name: 'kube-dns', labels: { 'k8s-app': 'kube-dns' } };
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ];
  const role = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:coredns' };
  const items = [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: settings.clusterDns, ports } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { ...metadata.labels, 'kubernetes.io/service-name': 'kube-dns' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [settings.address], conditions: { ready: true } }],
      ports,
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: role.name },
      rules: [
        { apiGroups: [''], resources: ['services', 'pods', 'namespaces'], verbs: ['list', 'watch'] },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: role.name },
      roleRef: role,
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:coredns' }],
    },
  ];
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}
