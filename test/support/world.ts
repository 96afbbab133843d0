import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildImage, type Cluster, type Log } from './cluster/index.ts';
import { until } from './cluster/until.ts';

const root = join(import.meta.dirname, '..', '..');
export const worldDir = join(root, 'test', 'demo', 'world');
export const IMAGE = 'autossh-operator:demo';
const WORLD = 'autossh-demo-world:1';
const CHART = join(root, 'charts', 'autossh-operator');

/** The steps of the product's main job, on a real node; the demo tells them, the end-to-end test judges them. */
export type World = {
  /** Builds both images and gives them to the node. */
  load(): Promise<void>;
  /** The bastion, its database and its keys; the namespace of the shop, with restricted Pod Security. */
  others(): Promise<void>;
  /** `helm install`, until the operator is ready. */
  install(): Promise<void>;
  /** Everything of the user in one `kubectl apply`. */
  apply(): Promise<void>;
  /** What one query through 127.0.0.1 answers in each of the app's pods; null where it fails. */
  queries(): Promise<readonly (string | null)[]>;
  /** Until the query answers in all of them again; resolves with the milliseconds it took. */
  answered(seconds?: number): Promise<number>;
  /** A condition of the tunnel: True, False or Unknown. */
  condition(type: string): Promise<string>;
  /** Until Ready is this, for these connected pods: without any the tunnel is Ready too. */
  ready(status: 'True' | 'False', connected?: string): Promise<void>;
  /** In each of the app's pods, as soon as an ssh runs there. */
  killSsh(signal: 'KILL' | 'STOP' | 'TERM'): Promise<void>;
  deleteBastion(): Promise<void>;
  /** Cuts the wire to the bastion, both ways; returns what mends it. */
  cutBastion(): Promise<() => Promise<void>>;
  /** Restarts of all containers in the shop, by container. */
  restarts(): Promise<Record<string, number>>;
  runJob(): Promise<void>;
  kubectl(...args: string[]): Promise<string>;
  /** What a person would look at when something does not come. */
  explain(): Promise<string>;
};

export const makeWorld = (cluster: Cluster, log: Log): World => {
  let keys: Keys | undefined;
  const kubectl = async (...args: string[]): Promise<string> =>
    must(await cluster.kubectl(args), `kubectl ${args.join(' ')}`);
  const applyText = async (text: string): Promise<void> => {
    must(await cluster.kubectl(['apply', '-f', '-'], { input: text }), 'kubectl apply');
  };
  const pods = async () =>
    (await kubectl('-n', 'shop', 'get', 'pods', '-l', 'app=orders', '-o', 'name')).split('\n').filter(Boolean);
  const exec = (pod: string, container: string, script: string) =>
    cluster.kubectl(['-n', 'shop', 'exec', pod, '-c', container, '--', 'sh', '-c', script]);
  const queries = async () => {
    const script = 'timeout 2 redis-cli -e -h "$REDIS_HOST" -p "$REDIS_PORT" incr queries';
    const outputs = await Promise.all((await pods()).map((pod) => exec(pod, 'app', script)));
    return outputs.map(({ stdout, code }) => (code === 0 ? stdout.trim() : null));
  };
  const explain = async () =>
    [
      await cluster.kubectl(['get', 'pods,sshtunnels', '-A', '-o', 'wide']),
      await cluster.kubectl(['-n', 'shop', 'get', 'events']),
      await cluster.kubectl(['-n', 'shop', 'logs', 'deploy/orders', '-c', 'autossh-orders-db', '--tail=20']),
      await cluster.kubectl(['-n', 'autossh-system', 'logs', 'deploy/autossh-operator', '--tail=20']),
    ]
      .map(({ stdout, stderr }) => stdout + stderr)
      .join('\n');
  const answered = async (seconds = 120) => {
    const began = performance.now();
    const all = async () => {
      const answers = await queries();
      return (answers.length > 0 && !answers.includes(null)) || undefined;
    };
    await until('the app to be answered through its tunnel', all, { seconds, everyMilliseconds: 100, explain });
    return performance.now() - began;
  };
  const tunnel = (path: string) => kubectl('-n', 'shop', 'get', 'sshtunnel', 'orders-db', '-o', `jsonpath=${path}`);
  const condition = (type: string) => tunnel(`{.status.conditions[?(@.type=="${type}")].status}`);
  const ready = async (status: string, connected?: string): Promise<void> => {
    const is = async () =>
      (await condition('Ready')) === status &&
      (connected === undefined || (await tunnel('{.status.connected}')) === connected);
    const what = `Ready=${status}${connected === undefined ? '' : `, connected ${connected}`}`;
    await until(what, async () => (await is()) || undefined, { seconds: 180, explain });
  };

  return {
    ...{ queries, answered, condition, ready, kubectl, explain },
    load: async () => {
      await buildImage(root, 'Dockerfile', IMAGE, { log });
      await buildImage(worldDir, 'Dockerfile', WORLD, { log });
      for (const image of [IMAGE, WORLD]) await cluster.loadImage(image);
    },
    others: async () => {
      await applyText(JSON.stringify(list(namespace('dmz'), namespace('shop', 'restricted'))));
      keys = makeKeys();
      await applyText(JSON.stringify(list(keys.bastion)));
      await kubectl('apply', '-f', join(worldDir, 'dmz.yaml'));
      await kubectl('-n', 'dmz', 'rollout', 'status', 'deploy/bastion', '--timeout=300s');
    },
    install: async () => {
      const values = {
        'image.repository': IMAGE.split(':')[0],
        'image.tag': IMAGE.split(':')[1],
        'image.pullPolicy': 'Never',
      };
      const set = Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
      must(
        await cluster.helm([
          'install',
          'autossh-operator',
          CHART,
          '--namespace=autossh-system',
          '--create-namespace',
          '--wait',
          '--timeout=5m',
          ...set,
        ]),
        'helm install',
      );
    },
    apply: async () => {
      keys ??= makeKeys();
      await applyText(
        `${readFileSync(join(worldDir, 'shop.yaml'), 'utf8')}\n---\n${keys.user.map((one) => JSON.stringify(one)).join('\n---\n')}\n`,
      );
    },
    killSsh: async (signal) => {
      const script = `n=0; for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = ssh ] && kill -${signal} "\${p#/proc/}" && n=$((n+1)); done; echo $n`;
      // Between two connections there is none.
      for (const pod of await pods())
        await until(
          `an ssh in ${pod} to send SIG${signal} to`,
          async () => Number((await exec(pod, 'autossh-orders-db', script)).stdout) > 0 || undefined,
          { seconds: 120, explain },
        );
    },
    deleteBastion: async () => {
      await kubectl('-n', 'dmz', 'delete', 'pod', '-l', 'app=bastion', '--wait=true');
    },
    cutBastion: async () => {
      const address = await kubectl(
        '-n',
        'dmz',
        'get',
        'pods',
        '-l',
        'app=bastion',
        '-o',
        'jsonpath={.items[0].status.podIP}',
      );
      const rule = async (verb: '-I' | '-D') => {
        for (const way of ['-s', '-d'])
          must(await cluster.onNode(['iptables', '-w', verb, 'FORWARD', way, address, '-j', 'DROP']), 'iptables');
      };
      await rule('-I');
      return () => rule('-D');
    },
    restarts: async () => {
      const path =
        '{range .items[*].status.containerStatuses[*]}{.name}={.restartCount}{"\\n"}{end}{range .items[*].status.initContainerStatuses[*]}{.name}={.restartCount}{"\\n"}{end}';
      const counts: Record<string, number> = {};
      for (const line of (await kubectl('-n', 'shop', 'get', 'pods', '-o', `jsonpath=${path}`)).trim().split('\n')) {
        const [name = '', count = '0'] = line.split('=');
        counts[name] = (counts[name] ?? 0) + Number(count);
      }
      return counts;
    },
    runJob: async () => {
      await kubectl('apply', '-f', join(worldDir, 'job.yaml'));
      await kubectl('-n', 'shop', 'wait', '--for=condition=complete', '--timeout=300s', 'job/nightly');
    },
  };
};

type Keys = { readonly bastion: object; readonly user: readonly object[] };

/** A host key for the bastion and a key for its one user, made for this run. */
const makeKeys = (): Keys => {
  const dir = mkdtempSync(join(tmpdir(), 'world-'));
  try {
    const make = (name: string) => {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(dir, name)]);
      return { private: readFileSync(join(dir, name), 'utf8'), public: readFileSync(join(dir, `${name}.pub`), 'utf8') };
    };
    const [host, user] = [make('host'), make('user')];
    const config = [
      ...['Port 22', 'HostKey /config/host_key', 'AuthorizedKeysFile /config/authorized_keys', 'PidFile none'],
      ...[
        'StrictModes no',
        'UsePAM no',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'AllowUsers tunnel',
      ],
      // What the tunnel may do, and no more: the database, and the heartbeat's own loop.
      ...[
        'AllowTcpForwarding yes',
        'PermitOpen 127.0.0.1:*',
        'PermitListen 127.0.0.1:*',
        'X11Forwarding no',
        'PermitTTY no',
      ],
      // A client that is gone is noticed, or it would hold on for hours.
      ...['ClientAliveInterval 5', 'ClientAliveCountMax 3'],
    ];
    return {
      bastion: {
        ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'bastion-sshd', namespace: 'dmz' } },
        stringData: { host_key: host.private, authorized_keys: user.public, sshd_config: `${config.join('\n')}\n` },
      },
      user: [
        {
          ...{
            apiVersion: 'v1',
            kind: 'Secret',
            type: 'kubernetes.io/ssh-auth',
            metadata: { name: 'bastion-key', namespace: 'shop' },
          },
          stringData: { 'ssh-privatekey': user.private },
        },
        {
          ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'bastion-hosts', namespace: 'shop' } },
          data: { known_hosts: `bastion.dmz ${host.public}` },
        },
      ],
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

const list = (...items: object[]) => ({ apiVersion: 'v1', kind: 'List', items });
const namespace = (name: string, enforce?: string) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels: enforce === undefined ? {} : { 'pod-security.kubernetes.io/enforce': enforce } },
});

const must = (
  { stdout, stderr, code }: { stdout: string; stderr: string; code: number | null },
  what: string,
): string => {
  if (code !== 0) throw new Error(`${what} ended with ${code}: ${stderr || stdout}`);
  return stdout;
};
