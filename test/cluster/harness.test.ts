import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Cluster, upCluster } from '../support/cluster/index.ts';
import { runsDir } from '../support/cluster/paths.ts';
import { busybox } from '../support/cluster/pods.ts';
import { marked, sweep } from '../support/cluster/runs.ts';
import { describeCluster } from '../support/cluster/suite.ts';
import { type MachineState, machineState, processesWith, tracesOf } from '../support/cluster/traces.ts';
import { until } from '../support/cluster/until.ts';

const nothing = { processes: [], mounts: [], links: [], routes: [], cgroups: [], folder: [] };

/** Applies the objects and fails with kubectl's own words. */
async function apply(cluster: Cluster, ...items: object[]): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items };
  const { stderr, code } = await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(list) });
  expect(stderr).toBe('');
  expect(code).toBe(0);
}

async function kubectl(cluster: Cluster, ...args: string[]): Promise<string> {
  const { stdout, stderr, code } = await cluster.kubectl(args);
  expect(code, `kubectl ${args.join(' ')}: ${stderr}`).toBe(0);
  return stdout;
}

const waitFor = (cluster: Cluster, what: string, ...args: string[]) =>
  kubectl(cluster, 'wait', `--for=${what}`, '--timeout=180s', ...args);

function pod(name: string, spec: object, labels = {}): object {
  const quick = { terminationGracePeriodSeconds: 1 };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec: { ...quick, ...spec } };
}

/** Ends at SIGTERM: a shell that is PID 1 would ignore it. */
const stay = (before = 'true') => ['sh', '-c', `trap 'exit 0' TERM; { ${before}; }; while :; do sleep 1; done`];

/** Not its own `-T`: with that, Debian's static build ends by SIGSEGV. */
const wget = ['timeout', '30', 'wget', '-q', '-O-'];

describeCluster('a real node', () => {
  let cluster: Awaited<ReturnType<typeof upCluster>>;
  let before: MachineState;
  beforeAll(async () => {
    before = await machineState();
    cluster = await upCluster();
  });
  afterAll(async () => {
    await cluster?.down();
  });

  it('runs a pod: logs, exec and its end', async () => {
    await apply(cluster, pod('one', { containers: [busybox({ name: 'app', command: stay('echo hello') })] }));
    await waitFor(cluster, 'condition=Ready', 'pod/one');
    // Ready says that it was started, not how far it came.
    const said = async () => (await kubectl(cluster, 'logs', 'one')) || undefined;
    expect(await until('its first words', said, { seconds: 60 })).toBe('hello\n');
    expect(await kubectl(cluster, 'exec', 'one', '--', 'cat', '/proc/1/comm')).toBe('sh\n');
    await kubectl(cluster, 'delete', 'pod', 'one', '--timeout=180s');
    expect((await cluster.kubectl(['get', 'pod', 'one'])).stderr).toContain('NotFound');
  });

  it('tells the names of Services, and leads to their pods from pods and from the test', async () => {
    const http = ['sh', '-c', 'mkdir /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www'];
    await apply(
      cluster,
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'web' },
        spec: {
          replicas: 2,
          selector: { matchLabels: { app: 'web' } },
          template: {
            metadata: { labels: { app: 'web' } },
            spec: { terminationGracePeriodSeconds: 1, containers: [busybox({ name: 'web', command: http })] },
          },
        },
      },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web' },
        spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
      },
      pod('client', { containers: [busybox({ name: 'client', command: stay() })] }),
    );
    await waitFor(cluster, 'condition=Available', 'deployment/web');
    await waitFor(cluster, 'condition=Ready', 'pod/client');
    const fetchInside = (url: string) => cluster.kubectl(['exec', 'client', '--', ...wget, url]);
    for (const host of ['web', 'web.default.svc.cluster.local']) {
      // kube-proxy and the name server hear of a Service a moment after its pods are ready.
      const answered = async () => ((await fetchInside(`http://${host}/`)).stdout === 'served\n' ? true : undefined);
      await until(`an answer from ${host}`, answered, { seconds: 60 });
    }
    const address = await kubectl(cluster, 'get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}');
    const fetched = async () => (await fetch(`http://${address}/`)).text();
    expect(await until('an answer to the test', fetched, { seconds: 60 })).toBe('served\n');
    const unknown = await fetchInside('http://no-such-name.example/');
    expect(unknown.stderr).toContain('bad address');
  });

  it('lets pods reach a server of the test', async () => {
    const server = createServer((_, response) => response.end('from the test'));
    await new Promise<void>((resolve) => server.listen(0, cluster.hostAddress, resolve));
    try {
      const url = `http://${cluster.hostAddress}:${(server.address() as AddressInfo).port}/`;
      expect(await kubectl(cluster, 'exec', 'client', '--', ...wget, url)).toBe('from the test');
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it('starts a native sidecar first and holds the app back until its startup probe passes', async () => {
    const sidecar = busybox({
      name: 'sidecar',
      command: stay('sleep 2; touch /tmp/up'),
      restartPolicy: 'Always',
      startupProbe: { exec: { command: ['test', '-e', '/tmp/up'] }, periodSeconds: 1, failureThreshold: 120 },
    });
    const app = busybox({ name: 'app', command: stay() });
    await apply(cluster, pod('sidecar', { initContainers: [sidecar], containers: [app] }));
    await waitFor(cluster, 'condition=Ready', 'pod/sidecar');
    const started = (list: string) =>
      kubectl(cluster, 'get', 'pod', 'sidecar', '-o', `jsonpath={.status.${list}[0].state.running.startedAt}`);
    const [first, second] = [await started('initContainerStatuses'), await started('containerStatuses')].map(
      Date.parse,
    );
    expect(second).toBeGreaterThanOrEqual((first ?? Number.NaN) + 2000);
  });

  it('completes a Job although its sidecar would stay for ever', async () => {
    await apply(cluster, {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'job' },
      spec: {
        template: {
          spec: {
            restartPolicy: 'Never',
            terminationGracePeriodSeconds: 1,
            initContainers: [busybox({ name: 'sidecar', command: stay(), restartPolicy: 'Always' })],
            containers: [busybox({ name: 'app', command: ['true'] })],
          },
        },
      },
    });
    await waitFor(cluster, 'condition=Complete', 'job/job');
  });

  it('installs a chart by Helm', async () => {
    const chart = join(cluster.dir, 'chart');
    mkdirSync(join(chart, 'templates'), { recursive: true });
    writeFileSync(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: tiny\nversion: 1.0.0\n');
    const template =
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {word: {{ .Values.word }}}\n';
    writeFileSync(join(chart, 'templates', 'configmap.yaml'), template);
    const { stderr, code } = await cluster.helm(['install', 'tiny', chart, '--set', 'word=charted']);
    expect(code, stderr).toBe(0);
    expect(await kubectl(cluster, 'get', 'configmap', 'tiny', '-o', 'jsonpath={.data.word}')).toBe('charted');
  });

  it('stands beside another one', async () => {
    const other = await upCluster();
    try {
      expect(other.hostAddress).not.toBe(cluster.hostAddress);
      // The same name on both: neither kubelet ends the other's.
      for (const one of [other, cluster])
        await apply(one, pod('twin', { containers: [busybox({ name: 'app', command: stay() })] }));
      for (const one of [other, cluster]) await waitFor(one, 'condition=Ready', 'pod/twin');
    } finally {
      await other.down();
    }
    expect(await tracesOf(other.dir, other)).toEqual(nothing);
    expect(await kubectl(cluster, 'exec', 'twin', '--', 'echo', 'alive')).toBe('alive\n');
  });

  it('keeps its wire when a dead run is swept that once had one by the same name', async () => {
    const { link } = JSON.parse(readFileSync(join(cluster.dir, 'run.json'), 'utf8')) as { link: string };
    const dead = mkdtempSync(join(runsDir(), 'run-'));
    const owner = { pid: process.pid, startTime: 'another', bootId: 'another' };
    writeFileSync(join(dead, 'run.json'), JSON.stringify({ owner, link }));
    await sweep(() => {});
    expect(existsSync(dead)).toBe(false);
    expect(existsSync(`/sys/class/net/${link}`)).toBe(true);
  });

  it('is swept by the next run when its process was killed', async () => {
    const orphan = await killedCluster();
    // Whichever run is the next: one beside this test may come first.
    await sweep(() => {});
    expect(await tracesOf(orphan.dir, orphan)).toEqual(nothing);
    expect(processesWith(orphan.marker)).toEqual([]);
    expect(await kubectl(cluster, 'exec', 'twin', '--', 'echo', 'alive')).toBe('alive\n');
  });

  it('leaves nothing behind', async () => {
    const marker = `sleep ${100_000 + (process.pid % 100_000)}`;
    await apply(cluster, pod('last', { containers: [busybox({ name: 'app', command: stay(`${marker} & true`) })] }));
    await waitFor(cluster, 'condition=Ready', 'pod/last');
    const during = await tracesOf(cluster.dir, cluster);
    expect(during.processes.length).toBeGreaterThan(8);
    expect(during.cgroups.length).toBeGreaterThan(0);
    expect(during.links.length).toBeGreaterThan(0);
    expect(processesWith(marker)).not.toEqual([]);
    // What its programs leave in the folder for temporary files goes with the run.
    for (const pid of marked(cluster.dir))
      expect(environmentOf(pid)).toEqual(expect.arrayContaining([`TMPDIR=${cluster.dir}/tmp`]));
    await cluster.down();
    expect(await tracesOf(cluster.dir, cluster)).toEqual(nothing);
    expect(processesWith(marker)).toEqual([]);
    const after = await machineState();
    expect(after.rules).toEqual(before.rules);
    expect(after.settings).toMatchObject(before.settings);
  });
});

const environmentOf = (pid: number): string[] => readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');

type Orphan = { dir: string; hostAddress: string; marker: string };

/** A cluster with a running pod whose process is ended by SIGKILL, as a test runner may be at any moment. */
async function killedCluster(): Promise<Orphan> {
  const marker = `sleep ${200_000 + (process.pid % 100_000)}`;
  const spec = pod('left', { containers: [busybox({ name: 'app', command: stay(`${marker} & true`) })] });
  const program = `
    import { upCluster } from ${JSON.stringify(new URL('../support/cluster/index.ts', import.meta.url).href)};
    const cluster = await upCluster();
    const said = await cluster.kubectl(['apply', '-f', '-'], { input: ${JSON.stringify(JSON.stringify(spec))} });
    const waited = await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/left', '--timeout=180s']);
    if (said.code + waited.code !== 0) throw new Error(said.stderr + waited.stderr);
    console.log(JSON.stringify({ dir: cluster.dir, hostAddress: cluster.hostAddress }));
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  try {
    const line = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString()));
      child.once('exit', (code) => reject(new Error(`expected a cluster; its process ended with ${code}: ${stderr}`)));
    });
    expect(processesWith(marker)).not.toEqual([]);
    const orphan = JSON.parse(line) as Omit<Orphan, 'marker'>;
    expect((await tracesOf(orphan.dir, orphan)).folder).not.toEqual([]);
    return { ...orphan, marker };
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.kill('SIGKILL')) await ended;
  }
}
