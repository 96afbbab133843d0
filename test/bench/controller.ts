import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { configMapData } from '../../src/api/hand-over.ts';
import {
  API_VERSION,
  CONFIG_ANNOTATION_PREFIX,
  configMapName,
  containerName,
  INJECT_LABEL,
  KIND,
  TUNNEL_ANNOTATION_PREFIX,
} from '../../src/api/names.ts';
import { parseSshTunnel } from '../../src/api/parse.ts';
import { createInformer } from '../../src/kube/informer.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS, PODS, pathOf } from '../../src/kube/resource.ts';
import { atMost } from '../../src/operator/at-most.ts';
import { configHash } from '../../src/operator/config-hash.ts';
import type { TunnelObject } from '../../src/operator/reconcile-tunnel.ts';
import { MANAGED_BY, SSH_TUNNELS } from '../../src/operator/resource.ts';
import type { ConfigMap } from '../../src/operator/tunnel-config-map.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { apiServerVersion } from '../support/cluster/versions.ts';
import { clientOf } from '../support/kube/client.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { createFaultProxy } from '../support/kube/fault-proxy.ts';
import { until } from '../support/until.ts';
import type { Order, Write } from './bare-loop.ts';
import { NAMESPACE, startOperator } from './operator-process.ts';
import { quantile, report } from './report.ts';

/**
 * What the operator costs an API server, and itself: the real process on a real kube-apiserver and etcd, all in one run. Rates are
 * beside a loop without any controller that makes the same writes on the same server, so that the server's own speed falls out.
 */
const { values } = parseArgs({
  options: {
    tunnels: { type: 'string', default: '1000' },
    pods: { type: 'string', default: '10000' },
    samples: { type: 'string', default: '200' },
    window: { type: 'string', default: '180' },
    rounds: { type: 'string', default: '7' },
  },
});
const TUNNELS = Number(values.tunnels);
const PODS_IN_ALL = Number(values.pods);
const SAMPLES = Number(values.samples);
/** Of the rates: ours and the bare loop once each. */
const ROUNDS = Number(values.rounds);
/** Seconds of idleness. */
const WINDOW = Number(values.window);
/** Workers of the controller (run-controller.ts), and connections of the bare loop. */
const CONCURRENCY = 4;
const REST_MS = 5_000;
const BENCH = 'bench';
const PATIENT = { deadlineMs: 600_000, everyMs: 10 } as const;

const server = await upApiServer();
const { client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8'));
const watching = new AbortController();
const tunnels = createInformer<TunnelObject>({ client, resource: SSH_TUNNELS, namespace: BENCH });
const [[label, value] = ['', '']] = Object.entries(MANAGED_BY);
const configMaps = createInformer<ConfigMap>({
  client,
  resource: CONFIG_MAPS,
  namespace: BENCH,
  labelSelector: `${label}=${value}`,
});
const nameOf = (index: number): string => `tunnel-${index}`;
const indexes = Array.from({ length: TUNNELS }, (_, index) => index);

/** After the point, by unit. */
const DIGITS: Readonly<Record<string, number>> = { '/s': 3, ms: 1, '': 2 };
const median = (all: readonly number[]): number => quantile(all, 0.5);

const main = async (): Promise<void> => {
  const kubectl = async (...args: string[]) => {
    const { code, stderr } = await server.kubectl(args);
    if (code !== 0) throw new Error(`expected kubectl ${args.join(' ')} to succeed; got: ${stderr}`);
  };
  for (const namespace of [NAMESPACE, BENCH]) await kubectl('create', 'namespace', namespace);
  await establishCrd(server);
  void tunnels.run(watching.signal);
  void configMaps.run(watching.signal);
  await Promise.all([tunnels.synced, configMaps.synced]);

  const rounds = await rates();
  const latency = await latencies();
  const idle = await idleness();
  const memory = await residentMemory();

  const ratios = rounds.map(({ ours, bare }) => ours / bare);
  const ratio = median(ratios);
  const [p50, p99] = [quantile(latency, 0.5), quantile(latency, 0.99)];
  const rows = [
    {
      measure: `${TUNNELS} tunnels reconciled, median of ${ROUNDS}`,
      unit: 'tunnels/s',
      value: median(rounds.map(({ ours }) => ours)),
    },
    {
      measure: `bare loop with the same writes, median of ${ROUNDS}`,
      unit: 'tunnels/s',
      value: median(rounds.map(({ bare }) => bare)),
    },
    { measure: 'ratio of the two in a round, least', unit: '', value: Math.min(...ratios) },
    { measure: 'ratio of the two in a round, median', unit: '', value: ratio },
    { measure: 'ratio of the two in a round, most', unit: '', value: Math.max(...ratios) },
    { measure: `SshTunnel change to ConfigMap change, p50 of ${latency.length}`, unit: 'ms', value: p50 },
    { measure: `SshTunnel change to ConfigMap change, p99 of ${latency.length}`, unit: 'ms', value: p99 },
    { measure: `idle requests per watch (${idle.watches} watches, ${WINDOW} s)`, unit: '/s', value: idle.perWatch },
    { measure: 'idle requests of leader election', unit: '/s', value: idle.election },
    { measure: `RSS, ${PODS_IN_ALL} pods and ${TUNNELS} tunnels cached`, unit: 'MB', value: memory.median },
    { measure: 'the same, the most of 30 s', unit: 'MB', value: memory.most },
  ];
  const shown = ({ unit, value }: { unit: string; value: number }) =>
    `${value.toFixed(DIGITS[unit] ?? 0)} ${unit}`.trim();
  report('controller', {
    title: 'The controller on a real API server',
    about: `The built operator on kube-apiserver ${apiServerVersion} and etcd without fsync, all on this machine: \`npm run bench:controller\`. The bare loop makes the same server-side applies (ConfigMap and status) over ${CONCURRENCY} kept-alive connections, as many as the controller has workers, in a process of its own; the two take turns, each on a server that has rested, and the ratio is that within a round. Latency is from sending the change of an SshTunnel to the watch event of its ConfigMap. The pods ask for ten sidecars per tunnel and wait to be started.`,
    table: { head: ['measure', 'value'], rows: rows.map((row) => [row.measure, shown(row)]) },
    goals: [
      {
        goal: 'at least 0.8 of the bare loop',
        measured: `ratio ${ratio.toFixed(2)} (median of ${ROUNDS} rounds, ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
        met: ratio >= 0.8,
      },
      { goal: 'change to change p50 at most 30 ms', measured: `${p50.toFixed(1)} ms`, met: p50 <= 30 },
      { goal: 'change to change p99 at most 250 ms', measured: `${p99.toFixed(1)} ms`, met: p99 <= 250 },
      {
        goal: 'idle: at most 0.2 requests/s per watch',
        measured: `${idle.perWatch.toFixed(3)} /s`,
        met: idle.perWatch <= 0.2,
      },
      { goal: 'at most 150 MB RSS', measured: `${memory.most.toFixed(0)} MB`, met: memory.most <= 150 },
    ],
    rows,
  });
};

/** Tunnels per second, ours and the bare loop's right after each other, now the one first and now the other: a slow minute hits both. */
const rates = async () => {
  const rounds: { ours: number; bare: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const found = { ours: 0, bare: 0 };
    // Ours goes last in the end: it stays for what comes next. And first in the beginning: the bare loop writes what it wrote.
    const order = round % 2 === 0 && round < ROUNDS - 1 ? (['ours', 'bare'] as const) : (['bare', 'ours'] as const);
    for (const who of order) {
      // What is made is made while nobody looks.
      await running?.stop();
      running = undefined;
      if (tunnels.store.size() > 0) await removeAll();
      await makeTunnels();
      // What the server still has to do with them is no part of either.
      await pause(REST_MS);
      found[who] = who === 'ours' ? await rateOfOurs() : await rateOfBareLoop();
    }
    rounds.push(found);
    const { ours, bare } = found;
    console.log(`ours: ${ours.toFixed(0)}, bare: ${bare.toFixed(0)} tunnels/s, ratio ${(ours / bare).toFixed(2)}`);
  }
  return rounds;
};

const makeTunnels = async (): Promise<void> => {
  await atMost(8, indexes, (index) =>
    client.create<TunnelObject>(SSH_TUNNELS, {
      apiVersion: API_VERSION,
      kind: KIND,
      metadata: { name: nameOf(index), namespace: BENCH },
      spec: {
        ssh: {
          host: 'bastion.example.com',
          user: 'tunnel',
          identity: { secretRef: { name: 'bastion-key' } },
          knownHosts: { configMapRef: { name: 'bastion-hosts' } },
        },
        forwards: [
          { name: 'db', local: { listen: { port: 5432 }, target: { host: 'db.internal', port: 10_000 + index } } },
        ],
      },
    }),
  );
  await until('the tunnels to be seen', () => tunnels.store.size() === TUNNELS, PATIENT);
};

const removeAll = async (): Promise<void> => {
  for (const resource of [SSH_TUNNELS, CONFIG_MAPS])
    await client.raw('DELETE', pathOf(resource, { namespace: BENCH }), undefined, { timeoutMs: 300_000 });
  await until('nothing to be left', () => tunnels.store.size() + configMaps.store.size() === 0, PATIENT);
};

/** From the first ConfigMap to the last status, as a watch sees it: the start of the process is no part of it. */
const finishes = (): { readonly rate: () => Promise<number> } => {
  let [first, last] = [Number.POSITIVE_INFINITY, 0];
  const judged = new Set<string>();
  const ends = [
    configMaps.addHandler({
      add: () => {
        first = Math.min(first, performance.now());
      },
    }),
    tunnels.addHandler({
      update: ({ metadata, status }) => {
        if (status === undefined || judged.has(metadata.name ?? '')) return;
        judged.add(metadata.name ?? '');
        last = performance.now();
      },
    }),
  ];
  return {
    rate: async () => {
      await until('all tunnels to have a status', () => judged.size === TUNNELS, PATIENT);
      for (const end of ends) end();
      return (1000 * (TUNNELS - 1)) / (last - first);
    },
  };
};

type Writes = { readonly configMap: ConfigMap; readonly status: TunnelObject['status'] };
/** What the controller wrote, by the name of the tunnel: what the bare loop writes. */
const written = new Map<string, Writes>();
let running: Awaited<ReturnType<typeof startOperator>> | undefined;

const rateOfOurs = async (): Promise<number> => {
  const seen = finishes();
  running = await startOperator(server);
  const rate = await seen.rate();
  for (const { metadata, status } of tunnels.store.list()) {
    const name = metadata.name ?? '';
    const configMap = configMaps.store.get(`${BENCH}/${configMapName(name)}`);
    if (configMap !== undefined) written.set(name, { configMap, status });
  }
  if (written.size !== TUNNELS) throw new Error(`expected ${TUNNELS} ConfigMaps; got ${written.size}`);
  return rate;
};

const rateOfBareLoop = async (): Promise<number> => {
  const writes = tunnels.store.list().map(({ metadata: { name = '', uid = '' } }): Write[] => {
    const write = written.get(name);
    if (write === undefined) throw new Error(`expected to know what is written of ${name}`);
    const { labels = {}, name: its = '' } = write.configMap.metadata;
    const owner = { apiVersion: API_VERSION, kind: KIND, name, uid, controller: true };
    const configMap = {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', data: write.configMap.data },
      metadata: { name: its, namespace: BENCH, labels, ownerReferences: [owner] },
    };
    const metadata = { name, namespace: BENCH };
    return [
      { path: pathOf(CONFIG_MAPS, { namespace: BENCH, name: its }), body: configMap },
      {
        path: pathOf(SSH_TUNNELS, { namespace: BENCH, name, subresource: 'status' }),
        body: { apiVersion: API_VERSION, kind: KIND, metadata, status: write.status },
      },
    ];
  });
  const { server: url, ca, cert, key } = server.credentials;
  const order: Order = { credentials: { server: url, ca, cert, key }, concurrency: CONCURRENCY, writes };
  const seen = finishes();
  const loop = fork(join(import.meta.dirname, 'bare-loop.ts'));
  const ended = once(loop, 'exit');
  loop.send(order);
  const failed = ended.then(([code]) => {
    if (code !== 0) throw new Error(`expected the bare loop to end well; got exit code ${code}`);
    return new Promise<never>(() => {});
  });
  const rate = await Promise.race([seen.rate(), failed]);
  await ended;
  return rate;
};

/** Milliseconds, one at a time, each after the tunnel's status is written: idle. */
const latencies = async (): Promise<number[]> => {
  const found: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    const name = nameOf(sample % TUNNELS);
    const { promise: changed, resolve } = Promise.withResolvers<number>();
    const end = configMaps.addHandler({
      update: ({ metadata }) => {
        if (metadata.name === configMapName(name)) resolve(performance.now());
      },
    });
    const body = { spec: { heartbeat: { timeoutSeconds: 4 + (sample % 5) } } };
    const sent = performance.now();
    const { metadata } = await client.patch(SSH_TUNNELS, { namespace: BENCH, name }, { type: 'merge', body });
    found.push((await changed) - sent);
    end();
    const settled = () => tunnels.store.get(`${BENCH}/${name}`)?.status?.['observedGeneration'] === metadata.generation;
    await until(`the status of ${name}`, settled, PATIENT);
  }
  return found;
};

/** Requests as an HTTP proxy between the operator and the server counts them. */
const idleness = async () => {
  await running?.stop();
  const proxy = await createFaultProxy(server.credentials);
  const operator = await startOperator(server, proxy.url);
  try {
    const isElection = (request: string) => request.includes('/leases');
    const quiet = () => proxy.requests.filter((request) => !isElection(request)).length;
    // Leading, and everything done that comes with it.
    const led = /leader_election_master_status\{[^}]*\} 1/;
    await until('the operator to lead', async () => led.test(await operator.metrics()), PATIENT);
    let [count, since] = [quiet(), performance.now()];
    const isSettled = () => {
      if (quiet() !== count) [count, since] = [quiet(), performance.now()];
      return performance.now() - since > 5_000;
    };
    await until('the operator to be idle', isSettled, PATIENT);
    const watches = new Set(
      proxy.requests
        .filter((request) => request.includes('watch='))
        .map((request) => request.replace(/(resourceVersion|timeoutSeconds)=\w*/g, '')),
    ).size;
    const before = proxy.requests.length;
    console.log(`idle with ${watches} watches: counting requests for ${WINDOW} s …`);
    // The measurement is a time: nothing is waited for.
    await pause(WINDOW * 1000);
    const requests = proxy.requests.slice(before);
    const election = requests.filter(isElection).length;
    return {
      watches,
      perWatch: (requests.length - election) / WINDOW / watches,
      election: election / WINDOW,
    };
  } finally {
    await operator.stop();
    await proxy.close();
  }
};

const residentMemory = async () => {
  console.log(`making ${PODS_IN_ALL} pods …`);
  await atMost(24, [...Array(PODS_IN_ALL).keys()], (index) => client.create(PODS, podOf(index)));
  const operator = await startOperator(server);
  try {
    const perTunnel = Math.floor(PODS_IN_ALL / TUNNELS);
    const matched = ({ status }: TunnelObject) => (status?.['pods'] as { matched?: number } | undefined)?.matched;
    const all = () => tunnels.store.list().every((one) => (matched(one) ?? 0) >= perTunnel);
    await until('all pods to be counted', all, { ...PATIENT, everyMs: 200 });
    const cached = async () =>
      (await operator.metrics()).includes(`kube_reflector_objects{resource="pods"} ${PODS_IN_ALL}\n`);
    await until('all pods to be cached', cached, PATIENT);
    const samples: number[] = [];
    for (let second = 0; second < 30; second++) {
      await pause(1000);
      samples.push(operator.rss());
    }
    return { median: quantile(samples, 0.5), most: Math.max(...samples) };
  } finally {
    await operator.stop();
  }
};

/** With its sidecar, and told of the ConfigMap as it is: the controller has nothing to write of it. */
const podOf = (index: number): KubeObject & { spec: object } => {
  const tunnel = nameOf(index % TUNNELS);
  const parsed = parseSshTunnel(tunnels.store.get(`${BENCH}/${tunnel}`));
  if (!parsed.ok) throw new Error(`expected ${tunnel} to be valid`);
  const env = Array.from({ length: 8 }, (_, at) => ({ name: `SETTING_${at}`, value: `value ${at} of pod ${index}` }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `pod-${index}`,
      namespace: BENCH,
      labels: { [INJECT_LABEL]: 'true', app: tunnel },
      annotations: {
        [`${TUNNEL_ANNOTATION_PREFIX}${tunnel}`]: '',
        [`${CONFIG_ANNOTATION_PREFIX}${tunnel}`]: configHash(configMapData(parsed.value)),
      },
    },
    spec: {
      initContainers: [
        {
          ...{ name: containerName(tunnel), image: 'autossh-operator:bench', restartPolicy: 'Always', env },
          args: ['autossh-operator', 'sidecar', '--http-port', '9322'],
        },
      ],
      containers: [{ name: 'app', image: 'shop:1', env }],
    },
  };
};

try {
  await main();
} finally {
  await running?.stop();
  watching.abort();
  await connection.close();
  await server.down();
}
