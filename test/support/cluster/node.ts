import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ApiServer } from './apiserver.ts';
import { issue, type KeyPair, kubeconfig, readCredentials } from './certs.ts';
import { makeCgroups } from './cgroups.ts';
import type { Machine } from './namespaces.ts';
import { cniConflist, containerdConfig, corefile, dnsManifest, kubeletConfig } from './node-config.ts';
import { type Daemon, lastLines, must, type Output, run as runProgram, startDaemon } from './process.ts';
import { noteDown, type Run } from './runs.ts';
import { Hopeless, until } from './until.ts';
import { pauseImage } from './versions.ts';

export const nodeName = 'node1';
export const nodePrograms = ['kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy', 'coredns'] as const;
export const nodePackages = ['containerd', 'runc', 'containernetworking-plugins', 'iptables', 'iproute2'] as const;

export type NodeOptions = {
  run: Run;
  machine: Machine;
  server: ApiServer;
  authority: KeyPair;
  programs: Record<(typeof nodePrograms)[number], string>;
  /** Archive of the pods' sandbox image. */
  pauseArchive: string;
  kubectl(args: readonly string[], input?: string): Promise<Output>;
};

/** Controllers and scheduler on the host beside the API server; container runtime, kubelet, kube-proxy and name server inside the node's namespaces. */
export async function startNode(options: NodeOptions): Promise<void> {
  const { run, machine, programs } = options;
  const clusterDns = machine.serviceCidr.replace('.0/24', '.10');
  const daemons: Daemon[] = [];
  const start = (name: string, argv: readonly string[]) => {
    const daemon = startDaemon(name, { argv, logFile: join(run.dir, 'log', `${name}.log`), env: run.env });
    daemons.push(daemon);
    return daemon;
  };
  const config = configWriter(run);
  const user = (name: string, commonName: string, organization?: string) =>
    writeKubeconfig(options, { name, commonName, ...(organization ? { organization } : {}) });

  const [controllers, scheduler, kubelet, proxy, dns] = await Promise.all([
    user('kube-controller-manager', 'system:kube-controller-manager'),
    user('kube-scheduler', 'system:kube-scheduler'),
    user('kubelet', `system:node:${nodeName}`, 'system:nodes'),
    user('kube-proxy', 'system:kube-proxy'),
    user('coredns', 'system:coredns'),
    startContainerd(options, start),
  ]);
  start('kube-controller-manager', [
    programs['kube-controller-manager'],
    `--kubeconfig=${controllers}`,
    `--service-account-private-key-file=${options.server.serviceAccountKey}`,
    `--root-ca-file=${options.authority.cert}`,
    `--cluster-signing-cert-file=${options.authority.cert}`,
    `--cluster-signing-key-file=${options.authority.key}`,
    '--use-service-account-credentials',
    '--leader-elect=false',
    '--secure-port=0',
  ]);
  start('kube-scheduler', [
    programs['kube-scheduler'],
    `--kubeconfig=${scheduler}`,
    '--leader-elect=false',
    '--secure-port=0',
  ]);

  const cgroup = `autossh-${run.id}`;
  noteDown(run, { cgroup });
  makeCgroups(cgroup);
  const kubeletFile = config(
    'kubelet.json',
    kubeletConfig({ clientCa: options.authority.cert, clusterDns, cgroup, address: machine.nodeAddress }),
  );
  start(
    'kubelet',
    machine.inside([
      programs.kubelet,
      `--config=${kubeletFile}`,
      `--kubeconfig=${kubelet}`,
      `--hostname-override=${nodeName}`,
      `--node-ip=${machine.nodeAddress}`,
    ]),
  );
  start(
    'kube-proxy',
    machine.inside([
      programs['kube-proxy'],
      `--kubeconfig=${proxy}`,
      `--hostname-override=${nodeName}`,
      `--bind-address=${machine.nodeAddress}`,
      `--cluster-cidr=${machine.podCidr}`,
      '--proxy-mode=iptables',
      // Limits of connection tracking belong to the whole kernel: 0 leaves them alone.
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0',
      '--conntrack-tcp-timeout-close-wait=0',
    ]),
  );
  const corefilePath = config('Corefile', corefile({ address: machine.nodeAddress, kubeconfig: dns }));
  start('coredns', machine.inside([programs.coredns, '-conf', corefilePath]));
  await succeed(options.kubectl(['apply', '-f', '-'], dnsManifest({ clusterDns, address: machine.nodeAddress })));
  await untilReady(options, daemons);
}

/** Until a pod could start at once: the node is Ready, the default service account is there, the name server answers. */
async function untilReady({ kubectl, machine }: NodeOptions, daemons: readonly Daemon[]): Promise<void> {
  const explain = () => daemons.map((daemon) => daemon.logTail()).join('\n');
  const waitFor = (what: string, probe: () => Promise<boolean>) =>
    until(
      what,
      async () => {
        const ended = daemons.find((daemon) => !daemon.running());
        if (ended) throw new Hopeless(`expected ${ended.name} to stay; it ended\n${ended.logTail()}`);
        return (await probe()) || undefined;
      },
      { seconds: 180, everyMilliseconds: 200, explain },
    );
  const ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
  await waitFor(
    `${nodeName} to be Ready`,
    async () => (await kubectl(['get', 'node', nodeName, '-o', ready])).stdout === 'True',
  );
  await waitFor(
    'the default service account',
    async () => (await kubectl(['get', 'serviceaccount', 'default'])).code === 0,
  );
  await waitFor(
    'the name server to have read the cluster',
    async () => (await fetch(`http://${machine.nodeAddress}:8181/ready`)).ok,
  );
}

async function startContainerd(
  { run, machine, pauseArchive }: NodeOptions,
  start: (name: string, argv: readonly string[]) => Daemon,
): Promise<void> {
  const config = configWriter(run);
  const cniConf = join(run.dir, 'node', 'cni');
  mkdirSync(cniConf, { recursive: true });
  writeFileSync(join(cniConf, '10-pods.conflist'), cniConflist(machine.podCidr));
  const cniBin = ['/usr/lib/cni', '/opt/cni/bin'].find((folder) => existsSync(join(folder, 'ptp'))) ?? '/usr/lib/cni';
  const file = config('containerd.toml', containerdConfig({ sandboxImage: pauseImage, cniBin, cniConf }));
  const daemon = start('containerd', machine.inside(['containerd', '--config', file]));
  await until(
    'containerd to answer',
    async () => {
      if (!daemon.running()) throw new Hopeless(`expected containerd to stay; it ended\n${daemon.logTail()}`);
      return (await runProgram(machine.inside(['ctr', 'version']))).code === 0 || undefined;
    },
    { seconds: 60, explain: () => daemon.logTail() },
  );
  await importImage(machine, pauseArchive);
}

/** Hands an image archive to the kubelet's side of containerd. */
export async function importImage(machine: Machine, archive: string): Promise<void> {
  await must(machine.inside(['ctr', '--namespace', 'k8s.io', 'images', 'import', archive]));
}

async function writeKubeconfig(
  { run, server, authority }: NodeOptions,
  subject: { name: string; commonName: string; organization?: string },
): Promise<string> {
  const pair = await issue(authority, subject);
  return configWriter(run)(`${subject.name}.kubeconfig`, kubeconfig(readCredentials(server.url, authority, pair)));
}

function configWriter(run: Run): (name: string, text: string) => string {
  const folder = join(run.dir, 'config');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return (name, text) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
}

async function succeed(output: Promise<Output>): Promise<void> {
  const { code, stdout, stderr } = await output;
  if (code !== 0)
    throw new Error(`expected kubectl to succeed; got exit code ${code}: ${lastLines(stderr || stdout, 10)}`);
}
