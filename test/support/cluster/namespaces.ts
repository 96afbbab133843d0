import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parent } from './owner.ts';
import { lastLines, must, run as runProgram } from './process.ts';
import { noteDown, type Run } from './runs.ts';
import { Hopeless, until } from './until.ts';

/**
 * A machine for one node: its own processes, mounts and network, as namespaces of this one.
 *
 * What a kubelet, a container runtime and kube-proxy make cannot be told apart from what others made, and much of it has no
 * owner to ask: shims, overlay mounts, iptables chains, bridges. Inside namespaces the kernel itself removes all of it when PID 1 in there ends,
 * and PID 1 ends with the process that started it. Several nodes stand side by side, and the machine's own firewall and sysctls stay as they are.
 */
export type Machine = {
  /** Of this host, at the node's end of the wire: what servers in tests and the API server listen on. */
  readonly hostAddress: string;
  readonly nodeAddress: string;
  readonly podCidr: string;
  readonly serviceCidr: string;
  /** Prefixes a command so that it runs inside. */
  inside(argv: readonly string[]): string[];
};

export async function makeMachine(run: Run): Promise<Machine> {
  const pid = await startPid1(run);
  const plan = await connect(run, pid);
  return {
    ...plan,
    // The inner setpriv: nsenter stays outside and passes no signal on, so its end must be the program's end.
    inside: (argv) => [
      'nsenter',
      `--target=${pid}`,
      '--mount',
      '--net',
      '--pid',
      'setpriv',
      '--pdeathsig',
      'KILL',
      ...argv,
    ],
  };
}

/** Folders that the node's programs write to at fixed paths; inside, they are folders of the run. */
const ownFolders = { 'var-lib': '/var/lib', 'var-log': '/var/log', run: '/run' };

/**
 * Values the kubelet insists on, for the whole kernel: it would write them, and nobody would write them back.
 * Inside, files that hold them already lie over the real ones.
 */
const kernelSettings = {
  'vm/overcommit_memory': 1,
  'vm/panic_on_oom': 0,
  'kernel/panic': 10,
  'kernel/panic_on_oops': 1,
  'kernel/keys/root_maxkeys': 1_000_000,
  'kernel/keys/root_maxbytes': 25_000_000,
};

function setup(run: Run): string {
  const node = join(run.dir, 'node');
  const lines = [
    'set -e',
    // Shared among the node's own mount namespaces (volumes with mount propagation), cut off from the host's by unshare.
    'mount --make-rshared /',
    'ip link set lo up',
    'echo 1 > /proc/sys/net/ipv4/ip_forward',
  ];
  for (const [path, value] of Object.entries(kernelSettings)) {
    const file = join(node, 'sysctl', path.replaceAll('/', '.'));
    mkdirSync(join(node, 'sysctl'), { recursive: true });
    writeFileSync(file, `${value}\n`);
    lines.push(`test ! -e /proc/sys/${path} || mount --bind '${file}' /proc/sys/${path}`);
  }
  for (const [name, path] of Object.entries(ownFolders)) {
    mkdirSync(join(node, name), { recursive: true });
    lines.push(`mount --bind '${join(node, name)}' ${path}`);
  }
  // PID 1 must reap what is orphaned in here (shims, for one). A process that ignores SIGCHLD has the kernel do it.
  lines.push('echo ready', 'exec env --ignore-signal=CHLD sleep infinity');
  return lines.join('\n');
}

/** Starts PID 1 of the namespaces and returns its pid out here. */
async function startPid1(run: Run): Promise<number> {
  const log = join(run.dir, 'log', 'namespaces.log');
  const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation=private'];
  const argv = ['--pdeathsig', 'KILL', 'unshare', ...namespaces, 'sh', '-c', setup(run)];
  const child = spawn('setpriv', argv, { env: run.env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said += chunk;
      appendFileSync(log, chunk);
    });
  }
  return await until(
    'namespaces for a node',
    () => {
      if (hasEnded(child)) {
        throw new Hopeless(`expected unshare to make namespaces (it needs root); got: ${lastLines(said, 10)}`);
      }
      return /^ready$/m.test(said) ? childOf(child.pid) : undefined;
    },
    { seconds: 60, everyMilliseconds: 10, explain: () => said },
  );
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

function childOf(pid: number | undefined): number | undefined {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((candidate) => parent(candidate) === pid);
}

type Plan = Omit<Machine, 'inside'> & { link: string };

/** The addresses of the n-th node of this machine. */
export function plan(n: number): Plan {
  return {
    link: `autossh-node${n}`,
    hostAddress: `10.245.${n}.1`,
    nodeAddress: `10.245.${n}.2`,
    podCidr: `10.244.${n}.0/24`,
    serviceCidr: `10.96.${n}.0/24`,
  };
}

/**
 * Lays a wire between this host and the node, and routes to its pods and Services, so that tests reach both.
 * Numbers are taken by making the interface and the routes: the kernel refuses a name or a route that is there.
 */
async function connect(run: Run, pid: number): Promise<Plan> {
  for (let n = 0; n < 256; n++) {
    const candidate = plan(n);
    if (await lay(run, candidate, pid)) return candidate;
  }
  throw new Error('expected one of 10.245.0.0 to 10.245.255.0 to be free; got none: `ip route` shows who has them');
}

async function lay(
  run: Run,
  { link, hostAddress, nodeAddress, podCidr, serviceCidr }: Plan,
  pid: number,
): Promise<boolean> {
  const made = await runProgram([
    'ip',
    'link',
    'add',
    link,
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    String(pid),
  ]);
  if (made.code !== 0) {
    if (/exists/.test(made.stderr)) return false;
    throw new Error(`expected a veth pair; got: ${made.stderr.trim()}`);
  }
  noteDown(run, { link });
  // Whose it is: `removeRun` looks.
  await must(['ip', 'link', 'set', link, 'alias', run.id]);
  await must(['ip', 'address', 'add', `${hostAddress}/30`, 'dev', link]);
  await must(['ip', 'link', 'set', link, 'up']);
  for (const cidr of [podCidr, serviceCidr]) {
    const routed = await runProgram(['ip', 'route', 'add', cidr, 'via', nodeAddress, 'dev', link]);
    if (routed.code === 0) continue;
    await must(['ip', 'link', 'delete', link]);
    return false;
  }
  const node = ['nsenter', `--target=${pid}`, '--net', 'ip'];
  await must([...node, 'address', 'add', `${nodeAddress}/30`, 'dev', 'eth0']);
  await must([...node, 'link', 'set', 'eth0', 'up']);
  await must([...node, 'route', 'add', 'default', 'via', hostAddress]);
  return true;
}
