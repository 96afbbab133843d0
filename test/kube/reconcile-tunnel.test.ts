import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { API_VERSION, configMapName, KIND } from '../../src/api/names.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { type KubeObject, keyOf } from '../../src/kube/object.ts';
import { CONFIG_MAPS } from '../../src/kube/resource.ts';
import { createStore } from '../../src/kube/store.ts';
import { reconcileTunnel, type TunnelObject } from '../../src/operator/reconcile-tunnel.ts';
import { createRefusals } from '../../src/operator/refusals.ts';
import { SSH_TUNNELS } from '../../src/operator/resource.ts';
import { type ConfigMap, isProvided } from '../../src/operator/tunnel-config-map.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createFaultProxy, type FaultProxy } from '../support/kube/fault-proxy.ts';
import { tunnelOf } from '../support/tunnels.ts';

const crd = resolve(import.meta.dirname, '../../deploy/crds/sshtunnels.autossh.dev.yaml');

describe('the reconciliation of a tunnel, with a cache that lags behind', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let proxy: FaultProxy;
  let client: KubeClient;
  let connection: Connection;
  let requests: string[] = [];
  beforeAll(async () => {
    server = await upApiServer();
    for (const args of [
      ['apply', '-f', crd],
      ['wait', '--for=condition=Established', '--timeout=60s', 'crd/sshtunnels.autossh.dev'],
    ])
      expect((await server.kubectl(args)).code).toBe(0);
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

  const place = (name: string) => ({ namespace: 'default', name });
  /** A tunnel on the server, and a cache that knows it and nothing that comes after. */
  const prepare = async (name: string) => {
    const { spec } = tunnelOf();
    const tunnel = { apiVersion: API_VERSION, kind: KIND, metadata: place(name), spec };
    const made = await client.create<TunnelObject>(SSH_TUNNELS, tunnel);
    const tunnels = createStore<TunnelObject>({});
    tunnels.put(made);
    const configMaps = createStore<ConfigMap>({});
    const log = () => {};
    const events = { record: () => {}, flush: async () => {} };
    const refusals = createRefusals({ set: () => {} });
    const cluster = { client, events, tunnels, configMaps, refusals, podsOf: () => [], now: () => new Date() };
    const reconcile = () => reconcileTunnel(keyOf(made), { signal: AbortSignal.timeout(60_000), log }, cluster);
    const accepted = async () =>
      (await client.get<TunnelObject>(SSH_TUNNELS, place(name))).status?.conditions?.find(
        ({ type }) => type === 'Accepted',
      );
    requests = [];
    return { made, tunnels, configMaps, reconcile, accepted };
  };
  const nameOf = (name: string) => place(configMapName(name));

  it('makes two requests, and a second time none that was answered before', async () => {
    const { reconcile, accepted, configMaps } = await prepare('once');
    await reconcile();
    const writes = [`PATCH configmaps/${configMapName('once')}`, 'PATCH once/status'];
    expect(requests).toEqual(writes);
    const configMap = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('once'));
    configMaps.put(configMap);
    requests = [];
    // The tunnel in the cache is still the one without a status.
    await reconcile();
    expect(requests).toEqual([]);
    expect(await accepted()).toMatchObject({ status: 'True' });
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

  it('knows its own again although the cache does not have it, and puts it right', async () => {
    const { reconcile, accepted } = await prepare('unseen');
    await reconcile();
    const right = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('unseen'));
    await reconcile();
    const same = await client.get<ConfigMap>(CONFIG_MAPS, nameOf('unseen'));
    expect(same.metadata.resourceVersion).toBe(right.metadata.resourceVersion);
    const body = { data: { AUTOSSH_TUNNEL: '{}' } };
    await client.patch(CONFIG_MAPS, nameOf('unseen'), { type: 'merge', body });
    await reconcile();
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
