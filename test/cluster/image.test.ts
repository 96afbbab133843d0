import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildImage, type Cluster, upCluster } from '../support/cluster/index.ts';
import { restricted } from '../support/cluster/pods.ts';
import { describeCluster } from '../support/cluster/suite.ts';
import { until } from '../support/cluster/until.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';

const root = join(import.meta.dirname, '..', '..');
const image = 'autossh-operator:test';
const namespace = 'strict';

describeCluster('the image, in a restricted namespace with a read-only root', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    await buildImage(root, 'Dockerfile', image);
    cluster = await upCluster();
    await cluster.loadImage(image);
    await apply({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    });
    // A controller makes it, and no pod is let in before.
    await kubectl('wait', '--for=create', '--timeout=120s', 'serviceaccount/default');
  });
  afterAll(async () => {
    await cluster?.down();
  });

  async function apply(item: object): Promise<void> {
    const { stderr, code } = await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(item) });
    expect(code, stderr).toBe(0);
  }

  async function kubectl(...args: string[]): Promise<string> {
    const { stdout, stderr, code } = await cluster.kubectl(['-n', namespace, ...args]);
    expect(code, `kubectl ${args.join(' ')}: ${stderr}`).toBe(0);
    return stdout;
  }

  const pod = (name: string, container: object, volumes: object[] = []) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      containers: [{ name: 'autossh', image, imagePullPolicy: 'Never', securityContext: restricted, ...container }],
      volumes,
    },
  });

  /** What the command printed in a pod of its own. */
  async function output(name: string, ...args: string[]): Promise<string> {
    await apply(pod(name, { args }));
    await kubectl('wait', '--for=jsonpath={.status.phase}=Succeeded', '--timeout=300s', `pod/${name}`);
    return await kubectl('logs', name);
  }

  it('has the drop-in as a command', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(await output('version', 'autossh', '-V')).toBe(`autossh 1.4g (autossh-operator ${version})\n`);
  });

  it('runs as its own numeric uid below tini, with the programs that the engine starts', async () => {
    const script =
      'id -u; id -g; tr "\\0" " " < /proc/1/cmdline | cut -d" " -f1; command -v ssh; command -v ssh-agent; command -v setpriv; node --version';
    const lines = (await output('inside', 'sh', '-c', script)).trim().split('\n');
    expect(lines.slice(0, -1)).toEqual([
      '27222',
      '27222',
      '/usr/bin/tini',
      '/usr/bin/ssh',
      '/usr/bin/ssh-agent',
      '/usr/bin/setpriv',
    ]);
    expect(lines.at(-1)).toMatch(/^v24\./);
  });

  it('cannot write to its root', async () => {
    expect(await output('root', 'sh', '-c', 'touch "$HOME/x" /usr/local/x 2>&1 || true')).toMatch(
      /^(touch: .*Read-only file system\n){2}$/,
    );
  });

  it('holds a tunnel to a real sshd, with a heartbeat, writing nowhere but /dev/shm', async () => {
    const sshd = await startSshd({ host: cluster.hostAddress });
    const behind = createServer((socket) => socket.end('through the tunnel\n'));
    try {
      await new Promise<void>((resolve) => behind.listen(0, '127.0.0.1', resolve));
      const address = behind.address();
      const port = typeof address === 'object' ? address?.port : undefined;
      await tunnel(sshd, `127.0.0.1:${port}`);
    } finally {
      await sshd.stop();
      behind.close();
    }
  });

  async function tunnel(sshd: Sshd, target: string): Promise<void> {
    const files = { id: readFileSync(sshd.userKey, 'utf8'), known_hosts: readFileSync(sshd.knownHosts, 'utf8') };
    await apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'identity', namespace }, stringData: files });
    const options = ['IdentityFile=/dev/shm/id', 'UserKnownHostsFile=/identity/known_hosts', 'BatchMode=yes'];
    const ssh = ['-N', '-p', String(sshd.port), ...options.flatMap((option) => ['-o', option])];
    const autossh = ['autossh', ...ssh, '-L', `5555:${target}`, sshd.destination];
    const container = {
      args: ['sh', '-c', 'umask 077 && cp /identity/id /dev/shm/id && exec "$@"', 'sh', ...autossh],
      env: [
        { name: 'AUTOSSH_POLL', value: '1' },
        { name: 'AUTOSSH_DEBUG', value: '1' },
      ],
      volumeMounts: [{ name: 'identity', mountPath: '/identity', readOnly: true }],
    };
    await apply(
      pod('tunnel', container, [{ name: 'identity', secret: { secretName: 'identity', defaultMode: 0o444 } }]),
    );
    const read = 'exec 3<>/dev/tcp/127.0.0.1/5555; cat <&3';
    const answer = () =>
      cluster.kubectl(['-n', namespace, 'exec', 'tunnel', '--', 'timeout', '10', 'bash', '-c', read]);
    const through = async () => ((await answer()).stdout === 'through the tunnel\n' ? true : undefined);
    const explain = async () => (await cluster.kubectl(['-n', namespace, 'logs', 'tunnel'])).stdout;
    await until('bytes through the tunnel', through, { seconds: 120, explain });
    const beats = async () =>
      /heartbeat: loop through port \d+ of the server/.test(await explain()) ? true : undefined;
    await until('a heartbeat through the server', beats, { seconds: 120, explain });
    await kubectl('delete', 'pod', 'tunnel', '--timeout=180s');
  }
});
