import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { API_VERSION, configMapName, containerName, KIND } from '../../src/api/names.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import type { NewEvent } from '../../src/kube/events.ts';
import { controllerOf, type KubeObject, keyOf } from '../../src/kube/object.ts';
import { rememberWrites } from '../../src/kube/own-writes.ts';
import { CONFIG_MAPS, NAMESPACES } from '../../src/kube/resource.ts';
import { createStore } from '../../src/kube/store.ts';
import { type Cluster, reconcileTunnel, type TunnelObject } from '../../src/operator/reconcile-tunnel.ts';
import { createRefusals } from '../../src/operator/refusals.ts';
import { SSH_TUNNELS } from '../../src/operator/resource.ts';
import { type ConfigMap, isProvided } from '../../src/operator/tunnel-config-map.ts';
import type { Pod } from '../../src/operator/tunnel-pod.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { createFaultProxy, type FaultProxy } from '../support/kube/fault-proxy.ts';
import { tunnelOf } from '../support/tunnels.ts';

describe('the reconciliation of a tunnel, with a cache that lags behind', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let proxy: FaultProxy;
  let client: KubeClient;
  let connection: Connection;
  let requests: string[] = [];
  beforeAll(async () => {
    server = await upApiServer();
    await establishCrd(server);
    proxy = await createFaultProxy(server.credentials);
    ({ client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8'), { server: proxy.url }));
    proxy.setFault((method, url) => {
      requests.push(`${method} ${url.split('?')[0]?.split('/').slice(-2).join('/')}`);
      return undefined;
    });
  });
  afterAll(async () => {
    await connection?.close();
    await proxy?.close();
    await server?.down();
  });

  /** Of each test, and of each try of it: a second one finds nothing of the first. */
  let namespace = '';
  let tries = 0;
  beforeEach(async () => {
    namespace = `try-${++tries}`;
    await client.create(NAMESPACES, { metadata: { name: namespace } });
  });
  const place = (name: string) => ({ namespace, name });
  /** A tunnel on the server, and a cache that knows it and nothing that comes after. */
  const prepare = async (name: string, options: Partial<Cluster> = {}) => {
    const { spec } = tunnelOf();
    const tunnel = { apiVersion: API_VERSION, kind: KIND, metadata: place(name), spec };
    return know(await client.create<TunnelObject>(SSH_TUNNELS, tunnel), options);
  };
  /** An operator that has just started. */
  const know = (made: TunnelObject, { podsOf = () => [], now = () => new Date() }: Partial<Cluster> = {}) => {
    const { name = '' } = made.metadata;
    const tunnels = createStore<TunnelObject>({});
    tunnels.put(made);
    const configMaps = createStore<ConfigMap>({});
    const log = () => {};
    const warnings: string[] = [];
    const record = ({ type, reason, note }: NewEvent) => {
      if (type === 'Warning') warnings.push(`${reason}: ${note}`);
    };
    const events = { record, flush: async () => {} };
    const refusals = createRefusals({ set: () => {} });
    const cluster: Cluster = {
      ...{ client, events, tunnels, refusals, heard: new Map(), behind: new Map(), podsOf, now },
      // No watch here.
      configMaps: rememberWrites({ store: configMaps, addHandler: () => () => {} }),
    };
    const reconcile = () => reconcileTunnel(keyOf(made), { signal: AbortSignal.timeout(60_000), log }, cluster);
    const condition = async (expected: string) =>
      (await client.get<TunnelObject>(SSH_TUNNELS, place(name))).status?.conditions?.find(
        ({ type }) => type === expected,
      );
    const accepted = () => condition('Accepted');
    requests = [];
    return { made, tunnels, configMaps, cluster, warnings, reconcile, condition, accepted };
  };
  const nameOf = (name: string) => place(configMapName(name));

  /** With a sidecar that has run for long; it is not on the server. */
  const podAt = (name: string, tunnel: string, port: number): Pod => {
    const container = containerName(tunnel);
    const running = { startedAt: new Date(Date.now() - 3_600_000).toISOString() };
    return {
      metadata: { ...place(name), uid: name },
      spec: { initContainers: [{ name: container, args: ['sidecar', '--http-port', String(port)] }] },
      status: { podIP: '127.0.0.1', initContainerStatuses: [{ name: container, state: { running } }] },
    };
  };

  it('makes two requests, and a second time none that was answered before', async () => {
    const { reconcile, accepted, configMaps } = await prepare('once');
    await reconcile();
    const writes = [`PATCH configmaps/${configMapName('once')}`, 'PATCH once/status'];
    expect(requests).toEqual(writes);
    // No watch has told of either yet.
    requests = [];
    await reconcile();
    expect(requests).toEqual([]);
    configMaps.put(await client.get<ConfigMap>(CONFIG_MAPS, nameOf('once')));
    requests = [];
    // The tunnel in the cache is still the one without a status.
    await reconcile();
    expect(requests).toEqual([]);
    expect(await accepted()).toMatchObject({ status: 'True' });
  });

  it('writes a change once, although the cache has the ConfigMap of before', async () => {
    const { made, tunnels, configMaps, reconcile } = await prepare('change');
    await reconcile();
    const before = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('change'));
    configMaps.put(before);
    const body = { spec: { ssh: { host: 'other.example.com' } } };
    tunnels.put(await client.patch<TunnelObject>(SSH_TUNNELS, place('change'), { type: 'merge', body }));
    requests = [];
    for (const _ of [1, 2]) await reconcile();
    expect(requests).toEqual([`PATCH configmaps/${configMapName('change')}`, 'PATCH change/status']);
    const after = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('change'));
    expect(after.data).not.toEqual(before.data);
    expect(controllerOf(after)?.uid).toBe(made.metadata.uid);
  });

  it('leaves a ConfigMap of that name alone that is not its own, and says so', async () => {
    const theirs = await client.create<ConfigMap>(CONFIG_MAPS, { metadata: nameOf('taken'), data: { theirs: 'yes' } });
    const { reconcile, accepted } = await prepare('taken');
    await reconcile();
    expect(await accepted()).toMatchObject({ status: 'False', reason: 'Conflict' });
    expect((await client.get(CONFIG_MAPS, nameOf('taken'))).metadata.resourceVersion).toBe(
      theirs.metadata.resourceVersion,
    );
  });

  it('looks again by itself whether somebody removed that ConfigMap: no watch tells of it', async () => {
    await client.create<ConfigMap>(CONFIG_MAPS, { metadata: nameOf('freed') });
    const { reconcile, accepted } = await prepare('freed');
    const { requeueAfterMs = Number.POSITIVE_INFINITY } = (await reconcile()) ?? {};
    expect(requeueAfterMs).toBeGreaterThan(20_000);
    expect(requeueAfterMs).toBeLessThan(40_000);
    await client.delete(CONFIG_MAPS, nameOf('freed'));
    await reconcile();
    expect(await accepted()).toMatchObject({ status: 'True' });
  });

  it('waits for the ConfigMap of a former tunnel of its name to be collected, and warns of nothing', async () => {
    const former = await prepare('again');
    await former.reconcile();
    // Nobody collects garbage here: this is the moment before it is done.
    await client.delete(SSH_TUNNELS, place('again'));
    let now = Date.now();
    const { made, configMaps, warnings, reconcile, accepted } = await prepare('again', { now: () => new Date(now) });
    now = Date.parse(made.metadata.creationTimestamp ?? '');
    configMaps.put(await client.get<ConfigMap>(CONFIG_MAPS, nameOf('again')));
    const { requeueAfterMs = Number.POSITIVE_INFINITY } = (await reconcile()) ?? {};
    expect(requeueAfterMs).toBeLessThan(5_000);
    expect(await accepted()).toBeUndefined();
    expect(warnings).toEqual([]);
    // Where nothing comes of it a person must know.
    now += 120_000;
    await reconcile();
    expect(await accepted()).toMatchObject({ status: 'False', reason: 'Conflict' });
    expect(warnings).toEqual([expect.stringMatching(/^Conflict: ConfigMap again-autossh .*former SshTunnel .*delete/)]);
    await client.delete(CONFIG_MAPS, nameOf('again'));
    configMaps.remove(keyOf({ metadata: nameOf('again') }));
    await reconcile();
    expect(await accepted()).toMatchObject({ status: 'True' });
    expect(controllerOf(await client.get<ConfigMap>(CONFIG_MAPS, nameOf('again')))?.uid).toBe(made.metadata.uid);
  });

  it.each<[string, object, boolean]>([
    ['our label that says who manages it', { labels: { 'app.kubernetes.io/managed-by': 'somebody' } }, true],
    ['our label that names the tunnel', { labels: { 'autossh.dev/tunnel': null } }, true],
    ['the reference to its owner', { ownerReferences: null }, true],
    ['a label of somebody else', { labels: { team: 'shop' } }, false],
  ])('puts back %s', async (what, metadata, isOurs) => {
    const name = `drift-${what.replaceAll(' ', '-').slice(0, 30)}`.replace(/-$/, '');
    const { reconcile, configMaps, tunnels, accepted } = await prepare(name);
    await reconcile();
    const right = await client.get<ConfigMap>(CONFIG_MAPS, nameOf(name));
    await client.patch(CONFIG_MAPS, nameOf(name), { type: 'merge', body: { metadata } });
    const drifted = await client.get<ConfigMap>(CONFIG_MAPS, nameOf(name));
    expect(isProvided(drifted, tunnels)).toBe(!isOurs);
    configMaps.put(drifted);
    requests = [];
    await reconcile();
    const { labels, ownerReferences } = (await client.get<ConfigMap>(CONFIG_MAPS, nameOf(name))).metadata;
    expect(labels).toMatchObject(right.metadata.labels ?? {});
    expect(ownerReferences).toEqual(right.metadata.ownerReferences);
    expect(requests.filter((request) => request.startsWith('PATCH configmaps'))).toHaveLength(isOurs ? 1 : 0);
    if (!isOurs) expect(labels).toMatchObject({ team: 'shop' });
    expect(await accepted()).toMatchObject({ status: 'True' });
  });

  it('believes the last answer of a pod for a moment of silence, and forgets pods that are gone', async () => {
    let answers = true;
    const sidecar = createServer((_, response) => {
      if (!answers) return void response.destroy();
      response.end(JSON.stringify({ connected: true, suspended: false, reason: null, generation: 1 }));
    });
    sidecar.listen(0, '127.0.0.1');
    await once(sidecar, 'listening');
    try {
      const { port } = sidecar.address() as AddressInfo;
      const pod = podAt('app', 'quiet', port);
      let pods: readonly Pod[] = [pod];
      let now = Date.now();
      const { reconcile, cluster, condition, warnings } = await prepare('quiet', {
        podsOf: () => pods,
        now: () => new Date(now),
      });
      const look = async () => {
        now += 3_000;
        const result = await reconcile();
        return {
          ...result,
          connected: (await condition('Connected'))?.status,
          ready: (await condition('Ready'))?.status,
        };
      };
      expect(await look()).toMatchObject({ connected: 'True', ready: 'True' });
      answers = false;
      for (const _ of [1, 2]) {
        const { requeueAfterMs, ...rest } = await look();
        expect(rest).toEqual({ connected: 'True', ready: 'True' });
        expect(requeueAfterMs).toBeLessThan(5_000);
      }
      expect(await look()).toMatchObject({ connected: 'Unknown', ready: 'Unknown' });
      answers = true;
      expect(await look()).toMatchObject({ connected: 'True', ready: 'True' });
      expect(cluster.heard.size).toBe(1);
      pods = [];
      await reconcile();
      expect(cluster.heard.size).toBe(0);
      expect(warnings).toEqual([]);
    } finally {
      sidecar.close();
    }
  });

  it('asks soon again whether a change has arrived in all pods, and no longer when it has, or does not for long', async () => {
    let generation = 1;
    const sidecar = createServer((_, response) => {
      response.end(JSON.stringify({ connected: true, suspended: false, reason: null, generation }));
    });
    sidecar.listen(0, '127.0.0.1');
    await once(sidecar, 'listening');
    try {
      const { port } = sidecar.address() as AddressInfo;
      let now = Date.now();
      const { reconcile, tunnels } = await prepare('changed', {
        podsOf: () => [podAt('app', 'changed', port)],
        now: () => new Date(now),
      });
      const pause = async () => (await reconcile())?.requeueAfterMs ?? Number.POSITIVE_INFINITY;
      expect(await pause()).toBeGreaterThan(20_000);
      const body = { spec: { ssh: { host: 'other.example.com' } } };
      tunnels.put(await client.patch<TunnelObject>(SSH_TUNNELS, place('changed'), { type: 'merge', body }));
      expect(await pause()).toBeLessThan(5_000);
      now += 3_600_000;
      expect(await pause()).toBeGreaterThan(20_000);
      now -= 3_600_000;
      generation = 2;
      expect(await pause()).toBeGreaterThan(20_000);
      expect((await client.get<TunnelObject>(SSH_TUNNELS, place('changed'))).status?.['pods']).toMatchObject({
        upToDate: 1,
      });
    } finally {
      sidecar.close();
    }
  });

  it('asks all pods of a tunnel, and never more than 64 at once', async () => {
    let now = 0;
    let most = 0;
    const sidecar = createServer((_, response) => {
      most = Math.max(most, ++now);
      // Late, so that whoever is asked at the same time has come until then.
      setTimeout(() => {
        now--;
        response.end(JSON.stringify({ connected: true, suspended: false, reason: null, generation: 1 }));
      }, 300);
    });
    sidecar.listen(0, '127.0.0.1');
    await once(sidecar, 'listening');
    try {
      const { port } = sidecar.address() as AddressInfo;
      const pods = Array.from({ length: 150 }, (_, index) => podAt(`app-${index}`, 'many', port));
      const { reconcile, condition } = await prepare('many', { podsOf: () => pods });
      await reconcile();
      expect(await condition('Connected')).toMatchObject({ status: 'True', message: 'All 150 pods are connected.' });
      expect(most).toBeLessThanOrEqual(64);
      expect(most).toBeGreaterThan(1);
    } finally {
      sidecar.close();
    }
  });

  it('knows its own again although the cache does not have it, and puts it right', async () => {
    const { made, reconcile, accepted } = await prepare('unseen');
    await reconcile();
    const right = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('unseen'));
    await know(made).reconcile();
    const same = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('unseen'));
    expect(same.metadata.resourceVersion).toBe(right.metadata.resourceVersion);
    const body = { data: { AUTOSSH_TUNNEL: '{}' } };
    await client.patch(CONFIG_MAPS, nameOf('unseen'), { type: 'merge', body });
    await know(made).reconcile();
    expect((await client.get<ConfigMap>(CONFIG_MAPS, nameOf('unseen'))).data).toEqual(right.data);
    expect(await accepted()).toMatchObject({ status: 'True' });
  });

  it('needs no second look at a ConfigMap that is as it was written, and one at any other', async () => {
    const { made, reconcile, tunnels } = await prepare('settled');
    await reconcile();
    const configMap = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('settled'));
    expect(isProvided(configMap, tunnels)).toBe(true);
    expect(isProvided({ ...configMap, data: { ...configMap.data, AUTOSSH_POLL: '1' } }, tunnels)).toBe(false);
    const disowned: KubeObject & ConfigMap = { ...configMap, metadata: { ...configMap.metadata, ownerReferences: [] } };
    expect(isProvided(disowned, tunnels)).toBe(false);
    tunnels.put({ ...made, metadata: { ...made.metadata, generation: 2 } });
    expect(isProvided(configMap, tunnels)).toBe(false);
    tunnels.remove(keyOf(made));
    expect(isProvided(configMap, tunnels)).toBe(false);
  });
});
