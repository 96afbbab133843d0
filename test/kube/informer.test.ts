import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { createInformer, type Informer, type InformerOptions } from '../../src/kube/informer.ts';
import { type KubeObject, keyOf } from '../../src/kube/object.ts';
import { CONFIG_MAPS, type Resource } from '../../src/kube/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createFaultProxy, type Fault, type FaultProxy } from '../support/kube/fault-proxy.ts';
import { createRecordingLog, createRecordingMeter } from '../support/kube/recording.ts';
import { createTcpProxy, type TcpProxy } from '../support/kube/tcp-proxy.ts';
import { until } from '../support/until.ts';

type ConfigMap = KubeObject & { data?: Record<string, string> };

const SELECTED = { labelSelector: 'test=informer' };
const labels = { test: 'informer' };
const succeeds = (promise: Promise<unknown>): Promise<boolean> =>
  promise.then(
    () => true,
    () => false,
  );

const OPTIONS = { fieldManager: 'test', force: true };

describe('an informer on a real API server', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let client: KubeClient;
  let text: string;
  let wire: TcpProxy;
  let faults: FaultProxy;
  /** Through the wire that can be cut, and through the proxy that answers wrongly. */
  let wired: KubeClient;
  let faulty: KubeClient;
  const connections: Connection[] = [];
  const running: { stop: AbortController; ended: Promise<void> }[] = [];

  beforeAll(async () => {
    // How long an orderly stop waits for open watches.
    server = await upApiServer({ extraFlags: ['--request-timeout=5s'] });
    text = readFileSync(server.kubeconfig, 'utf8');
    const { hostname, port } = new URL(server.credentials.server);
    wire = await createTcpProxy({ host: hostname, port: Number(port) });
    faults = await createFaultProxy(server.credentials);
    const make = (url?: string) => {
      const made = clientOf(text, url === undefined ? {} : { server: url });
      connections.push(made.connection);
      return made.client;
    };
    client = make();
    wired = make(`https://127.0.0.1:${wire.port}`);
    faulty = make(faults.url);
  });
  afterEach(async () => {
    faults.setFault(undefined);
    for (const { stop } of running) stop.abort();
    await Promise.all(running.splice(0).map(({ ended }) => ended));
  });
  afterAll(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await wire?.close();
    await faults?.close();
    await server?.down();
  });

  const run = (informer: Informer<ConfigMap, never>) => {
    const stop = new AbortController();
    running.push({ stop, ended: informer.run(stop.signal) });
  };
  /** An informer that runs, with what it told and said. */
  const start = async (
    through: KubeClient,
    options: Partial<InformerOptions<ConfigMap, never>> = {},
    handler: (event: string) => void = () => {},
  ) => {
    const told: string[] = [];
    const { meter, value } = createRecordingMeter();
    const { log, lines, text: said } = createRecordingLog();
    const resource: Resource = options.resource ?? CONFIG_MAPS;
    const informer = createInformer<ConfigMap>({ client: through, ...SELECTED, log, meter, ...options, resource });
    const tell = (event: string) => {
      told.push(event);
      handler(event);
    };
    informer.addHandler({
      add: (object) => tell(`add ${object.metadata.name} ${object.data?.['v'] ?? ''}`),
      update: (object, old) =>
        tell(`update ${object.metadata.name} ${old.data?.['v'] ?? ''}->${object.data?.['v'] ?? ''}`),
      delete: (object) => tell(`delete ${object.metadata.name}`),
    });
    run(informer);
    const count = (metric: string, more = '') =>
      value(`kube_reflector_${metric}_total{${more}resource=${resource.plural}}`) ?? 0;
    return { informer, told, lines, said, count };
  };
  const put = (name: string, v: string, at = client) =>
    at.apply<ConfigMap>(CONFIG_MAPS, { metadata: { name, namespace: 'default', labels }, data: { v } }, OPTIONS);
  const remove = (name: string) => client.delete(CONFIG_MAPS, { name, namespace: 'default' });
  const seen = (
    informer: Informer<ConfigMap, never>,
    name: string,
    v: string | undefined,
    what: { said: () => string },
  ) =>
    until(`${name} to be seen as ${v}`, () => informer.store.get(`default/${name}`)?.data?.['v'] === v, {
      deadlineMs: 60_000,
      state: what.said,
    });
  /** What the cache has is what the server has. */
  const expectEqual = async (informer: Informer<ConfigMap, never>) => {
    const { items } = await client.list<ConfigMap>(CONFIG_MAPS, SELECTED);
    const sorted = (objects: readonly ConfigMap[]) =>
      objects.map((object) => `${keyOf(object)} ${object.metadata.resourceVersion}`).sort();
    expect(sorted(informer.store.list())).toEqual(sorted(items));
  };

  it('tells of what is there, what comes, changes and goes, in order', async () => {
    await put('a', '1');
    const one = await start(client);
    await one.informer.synced;
    expect(one.told).toEqual(['add a 1']);
    await put('a', '2');
    await put('b', '1');
    await put('a', '3');
    await remove('b');
    await until('all of it', () => one.told.length === 5, { deadlineMs: 60_000, state: one.said });
    expect(one.told).toEqual(['add a 1', 'update a 1->2', 'add b 1', 'update a 2->3', 'delete b']);
    const late: string[] = [];
    one.informer.addHandler({ add: (object) => late.push(object.metadata.name ?? '') });
    expect(late).toEqual(['a']);
    expect([one.count('lists'), one.count('watches')]).toEqual([1, 1]);
  });

  it('is not disturbed by a handler, an index or a transform that throws', async () => {
    const broken = () => {
      throw new Error('broken');
    };
    const one = await start(client, { indexers: { broken } as never, transform: broken }, broken);
    await one.informer.synced;
    await put('thrown', '1');
    await put('thrown', '2');
    await until('both', () => one.told.includes('update thrown 1->2'), { deadlineMs: 60_000, state: one.said });
    expect(one.said()).toContain('a handler of configmaps failed');
    await remove('thrown');
  });

  it('lists page by page, and tells each object once', async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `many-${i}`);
    for (let at = 0; at < names.length; at += 50)
      await Promise.all(names.slice(at, at + 50).map((name) => put(name, '1')));
    faults.requests.length = 0;
    const one = await start(faulty, { pageSize: 150 });
    await one.informer.synced;
    expect(one.told).toHaveLength(1001);
    expect(new Set(one.told).size).toBe(1001);
    // A page that the client had to ask for twice is one page.
    expect(new Set(faults.requests.filter((line) => line.includes('limit=150'))).size).toBe(7);
    await expectEqual(one.informer);
  });

  it('lists in one when the pages are forgotten meanwhile', async () => {
    let pages = 0;
    faults.setFault((_method, url) =>
      url.includes('continue=') && ++pages === 2
        ? { status: 410, body: JSON.stringify({ kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }) }
        : undefined,
    );
    const one = await start(faulty, { pageSize: 150 });
    await one.informer.synced;
    expect(one.told).toHaveLength(1001);
    expect(one.count('errors', 'reason=Gone,')).toBe(0);
    await client.raw(
      'DELETE',
      '/api/v1/namespaces/default/configmaps?labelSelector=test=informer&fieldSelector=metadata.name!=a',
    );
    await until('an empty cache', () => one.informer.store.size() === 1, { deadlineMs: 60_000, state: one.said });
  });

  it('goes on after the wire was cut, without a new list', async () => {
    const one = await start(wired);
    await one.informer.synced;
    await until('the watch', () => one.count('watches') === 1);
    for (let round = 0; round < 2; round++) {
      wire.cut();
      await put('cut', String(round));
      await seen(one.informer, 'cut', String(round), one);
    }
    expect(one.count('lists')).toBe(1);
  });

  it('notices a wire that fell silent, and missed nothing', async () => {
    const one = await start(wired, { silenceMs: 2000 });
    await one.informer.synced;
    await put('silent', '1');
    await seen(one.informer, 'silent', '1', one);
    wire.stall();
    await put('silent', '2');
    await seen(one.informer, 'silent', '2', one);
    expect(one.lines.some(({ fields }) => fields['reason'] === 'Silent')).toBe(true);
    expect(one.count('lists')).toBe(1);
  });

  it('goes on after a watch that was cut in the middle of an event', async () => {
    const one = await start(faulty);
    await one.informer.synced;
    await until('the watch', () => one.count('watches') === 1);
    let cuts = 0;
    // In the first word, in the metadata, in the managed fields.
    const after = [1, 100, 400];
    faults.setFault((_method, url) => {
      const bytes = url.includes('watch=true') ? after[cuts++] : undefined;
      return bytes === undefined ? undefined : { breaks: 'truncate', after: { bytes } };
    });
    faults.cut();
    let writes = 0;
    await until('all cuts', async () => (await put('half', String(++writes)), cuts > after.length), {
      deadlineMs: 60_000,
      everyMs: 50,
      state: one.said,
    });
    await put('half', 'whole');
    await seen(one.informer, 'half', 'whole', one);
    expect(one.said()).toContain('in the middle of an event');
    expect(one.count('lists')).toBe(1);
    await expectEqual(one.informer);
  });

  it('waits out a server that is overloaded or broken, without hurrying it', async () => {
    const outage = { status: 503, body: 'no' };
    faults.setFault(() => outage);
    faults.requests.length = 0;
    const one = await start(faulty);
    await until('two failures', () => one.count('errors', 'reason=ServiceUnavailable,') >= 2, { deadlineMs: 60_000 });
    // Each failed list is four requests, the client's own retries among them; the waits between lists grow.
    expect(faults.requests.length).toBeLessThanOrEqual(12);
    expect(one.informer.hasSynced()).toBe(false);
    const busy = { status: 429, headers: { 'Retry-After': '2' } };
    let refused = 0;
    faults.setFault((_method, url) => (url.includes('watch=true') && ++refused <= 2 ? busy : undefined));
    await one.informer.synced;
    await put('after', '1');
    await seen(one.informer, 'after', '1', one);
    expect(one.count('errors', 'reason=TooManyRequests,')).toBe(2);
    expect(one.count('watches')).toBe(3);
  });

  it('survives a restart, a crash and a server that knows nothing of before, and ends up with what is there', async () => {
    const one = await start(wired);
    await one.informer.synced;
    await put('gone', '1');
    const writeOn = async (v: string) => {
      await until('the server to take it', () => succeeds(put('kept', v)), { deadlineMs: 60_000 });
      await seen(one.informer, 'kept', v, one);
    };
    await writeOn('1');
    await server.restart();
    await writeOn('2');
    await server.kill();
    await server.restart();
    await writeOn('3');
    // Blind, while something goes, something comes, something is another of the same name, and the server forgets its cache.
    const lists = one.count('lists');
    wire.hold(true);
    wire.cut();
    await remove('gone');
    await put('instead', '1');
    await remove('kept');
    await put('kept', '4');
    await server.kill();
    await server.restart();
    wire.hold(false);
    await seen(one.informer, 'kept', '4', one);
    expect(one.told.slice(-4).sort()).toEqual(['add instead 1', 'add kept 4', 'delete gone', 'delete kept']);
    expect(one.count('lists')).toBe(lists + 1);
    expect(one.count('errors', 'reason=Gone,')).toBeGreaterThanOrEqual(1);
    await expectEqual(one.informer);
  });

  it('waits for a permission and says which', async () => {
    const forbidden = {
      status: 403,
      body: JSON.stringify({
        kind: 'Status',
        code: 403,
        reason: 'Forbidden',
        message: 'User "x" cannot list resource "configmaps"',
      }),
    };
    faults.setFault(() => forbidden);
    const one = await start(faulty);
    await until('a complaint', () => one.lines.length > 0);
    expect(one.lines[0]).toMatchObject({
      level: 'warn',
      message: 'may not list or watch configmaps of v1: waiting for the permission',
    });
    expect(one.lines[0]?.fields['error']).toContain('cannot list resource "configmaps"');
    faults.setFault(undefined);
    await one.informer.synced;
  });

  it('waits for a definition, and for it to come back', async () => {
    const resource: Resource = { apiVersion: 'test.autossh.dev/v1', kind: 'Thing', plural: 'things', namespaced: true };
    const one = await start(client, { resource });
    await until('a complaint', () => one.lines.length > 0);
    expect(one.lines[0]?.message).toBe(
      'the server does not know things of test.autossh.dev/v1: waiting for its definition',
    );
    const crd: Resource = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      plural: 'customresourcedefinitions',
      namespaced: false,
    };
    const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
    const names = { kind: 'Thing', plural: 'things', singular: 'thing' };
    const spec = {
      group: 'test.autossh.dev',
      scope: 'Namespaced',
      names,
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    };
    const define = () => client.create(crd, { metadata: { name: 'things.test.autossh.dev' }, spec } as KubeObject);
    const make = (v: string) =>
      until(
        'a thing',
        () =>
          succeeds(
            client.apply<ConfigMap>(
              resource,
              { metadata: { name: 'x', namespace: 'default', labels }, data: { v } },
              OPTIONS,
            ),
          ),
        { deadlineMs: 60_000, state: one.said },
      );
    await define();
    await one.informer.synced;
    await make('1');
    await seen(one.informer, 'x', '1', one);
    await client.delete(crd, { name: 'things.test.autossh.dev' });
    await until('it to be gone', () => one.informer.store.size() === 0, { deadlineMs: 60_000, state: one.said });
    await until('the definition to be gone', () => succeeds(define()), { deadlineMs: 60_000 });
    await make('2');
    await seen(one.informer, 'x', '2', one);
  });

  /** Where it is when it is told to end, and what leads there. */
  const STATES: readonly [string, (method: string, url: string) => Fault | undefined, string][] = [
    ['a list that is not answered', () => ({ breaks: 'stall' }), 'limit='],
    ['a list that stops half-way', () => ({ breaks: 'stall', after: { bytes: 20 } }), 'limit='],
    ['a watch that is not answered', (_, url) => (isWatch(url) ? { breaks: 'stall' } : undefined), 'watch=true'],
    ['a watch', () => undefined, 'watch=true'],
    ['the wait after a failure', () => ({ status: 403 }), 'limit='],
  ];
  it.each(STATES)('ends when told to, and leaves no connection: from %s', async (_state, fault, asked) => {
    const proxy = await createFaultProxy(server.credentials);
    const { client: own, connection } = clientOf(text, { server: proxy.url });
    try {
      proxy.setFault(fault);
      const failing = 'status' in (fault('GET', '') ?? {});
      const { log, lines } = createRecordingLog();
      const informer = createInformer<ConfigMap>({ client: own, resource: CONFIG_MAPS, log });
      const stop = new AbortController();
      const ended = informer.run(stop.signal);
      await until('the state', () => proxy.requests.some((line) => line.includes(asked)));
      if (failing) await until('the failure', () => lines.length > 0);
      else expect(await proxy.open()).toBeGreaterThan(0);
      stop.abort();
      await ended;
      // What is kept for the next request is closed with the pool; a request under way has no next one.
      if (failing) await connection.close();
      await until('no connection', async () => (await proxy.open()) === 0);
    } finally {
      await connection.close();
      await proxy.close();
    }
  });

  it('does not begin when it was told to end before', async () => {
    const already = createInformer<ConfigMap>({ client: wired, resource: CONFIG_MAPS });
    await already.run(AbortSignal.abort());
    expect(already.hasSynced()).toBe(false);
  });
});

const isWatch = (url: string) => url.includes('watch=true');
