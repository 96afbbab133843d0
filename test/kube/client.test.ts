import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError } from '../../src/kube/api-error.ts';
import { createClient, type KubeClient } from '../../src/kube/client.ts';
import { type Connection, connect } from '../../src/kube/connection.ts';
import { guardWrites, WriteRefused } from '../../src/kube/guard-writes.ts';
import { KubeConfigError, loadKubeConfig } from '../../src/kube/kubeconfig.ts';
import { describe as inWords } from '../../src/kube/log.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS, DEPLOYMENTS, NAMESPACES } from '../../src/kube/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createFaultProxy, type FaultProxy } from '../support/kube/fault-proxy.ts';
import { createRecordingMeter } from '../support/kube/recording.ts';
import { createTcpProxy } from '../support/kube/tcp-proxy.ts';
import { freePort } from '../support/port.ts';
import { until } from '../support/until.ts';

type ConfigMap = KubeObject & { data?: Record<string, string> };
type Deployment = KubeObject & { spec?: unknown; status?: { replicas?: number } };

const refusal = async (promise: Promise<unknown>): Promise<ApiError> => {
  const error = await promise.then(
    () => new Error('expected a refusal; it was accepted'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw error;
  return error;
};

describe('the client on a real API server', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let text: string;
  let client: KubeClient;
  const open: Connection[] = [];
  const keep = (made: { client: KubeClient; connection: Connection }) => {
    open.push(made.connection);
    return made.client;
  };
  beforeAll(async () => {
    server = await upApiServer();
    text = readFileSync(server.kubeconfig, 'utf8');
    client = keep(clientOf(text));
  });
  afterAll(async () => {
    await Promise.all(open.map((connection) => connection.close()));
    await server?.down();
  });

  const place = (name: string) => ({ namespace: 'default', name });
  const map = (name: string, data: Record<string, string> = {}): ConfigMap => ({ metadata: place(name), data });

  it('creates, reads, replaces, patches, lists and deletes', async () => {
    const made = await client.create(CONFIG_MAPS, map('a', { word: 'one' }));
    expect(made).toMatchObject({ kind: 'ConfigMap', metadata: { name: 'a' }, data: { word: 'one' } });
    expect(typeof made.metadata.creationTimestamp).toBe('string');
    expect(await client.get<ConfigMap>(CONFIG_MAPS, place('a'))).toEqual(made);
    const replaced = await client.update<ConfigMap>(CONFIG_MAPS, { ...made, data: { word: 'two' } });
    expect(replaced.data).toEqual({ word: 'two' });
    const merge = { type: 'merge', body: { data: { more: '3' } } } as const;
    expect((await client.patch<ConfigMap>(CONFIG_MAPS, place('a'), merge)).data).toEqual({ word: 'two', more: '3' });
    const remove = { type: 'json', body: [{ op: 'remove', path: '/data/word' }] } as const;
    expect((await client.patch<ConfigMap>(CONFIG_MAPS, place('a'), remove)).data).toEqual({ more: '3' });
    const dry = await client.patch<ConfigMap>(
      CONFIG_MAPS,
      place('a'),
      { type: 'merge', body: { data: null } },
      { dryRun: true },
    );
    expect(dry.data).toBeUndefined();
    const list = await client.list<ConfigMap>(CONFIG_MAPS, { namespace: 'default', fieldSelector: 'metadata.name=a' });
    expect(list.items.map(({ data }) => data)).toEqual([{ more: '3' }]);
    await client.delete(CONFIG_MAPS, place('a'));
    expect((await refusal(client.get(CONFIG_MAPS, place('a')))).reason).toBe('NotFound');
  });

  it('tells refusals apart', async () => {
    const made = await client.create(CONFIG_MAPS, map('b'));
    expect(await refusal(client.create(CONFIG_MAPS, map('b')))).toMatchObject({ code: 409, reason: 'AlreadyExists' });
    await client.update(CONFIG_MAPS, { ...made, data: { x: '1' } });
    expect(await refusal(client.update(CONFIG_MAPS, { ...made, data: { x: '2' } }))).toMatchObject({
      code: 409,
      reason: 'Conflict',
    });
    const other = { preconditions: { uid: 'another' } };
    expect(await refusal(client.delete(CONFIG_MAPS, place('b'), other))).toMatchObject({ reason: 'Conflict' });
    const invalid = await refusal(client.create(CONFIG_MAPS, map('Not A Name')));
    expect(invalid).toMatchObject({ code: 422, reason: 'Invalid' });
    expect(invalid.details?.causes?.[0]?.field).toBe('metadata.name');
    expect(invalid.message).toContain('POST /api/v1/namespaces/default/configmaps: 422');
    await expect(client.get(CONFIG_MAPS, { name: 'b' })).rejects.toThrow('expected a namespace');
  });

  it('applies server-side: owns what it gives, meets others with a conflict, and takes over by force', async () => {
    const mine = { fieldManager: 'autossh-operator' };
    await client.apply(CONFIG_MAPS, map('c', { ours: '1', also: '1' }), mine);
    await client.apply(CONFIG_MAPS, map('c', { theirs: '1' }), { fieldManager: 'somebody' });
    const fewer = await client.apply(CONFIG_MAPS, map('c', { ours: '2' }), mine);
    expect(fewer.data).toEqual({ ours: '2', theirs: '1' });
    const same = await client.apply(CONFIG_MAPS, map('c', { ours: '2' }), mine);
    expect(same.metadata.resourceVersion).toBe(fewer.metadata.resourceVersion);
    const conflict = await refusal(client.apply(CONFIG_MAPS, map('c', { ours: '2', theirs: '2' }), mine));
    expect(conflict).toMatchObject({ code: 409, reason: 'Conflict' });
    expect(conflict.details?.causes?.[0]).toMatchObject({ reason: 'FieldManagerConflict', field: '.data.theirs' });
    const forced = await client.apply(CONFIG_MAPS, map('c', { ours: '2', theirs: '2' }), { ...mine, force: true });
    expect(forced.data).toEqual({ ours: '2', theirs: '2' });
  });

  it('applies only what is new where told to: one that is there is left as it is', async () => {
    const options = { fieldManager: 'autossh-operator', force: true, createOnly: true };
    const made = await client.apply(CONFIG_MAPS, map('fresh', { ours: '1' }), options);
    expect(made.data).toEqual({ ours: '1' });
    for (const data of [{ ours: '1' }, { ours: '2' }]) {
      const refused = await refusal(client.apply(CONFIG_MAPS, map('fresh', data), options));
      expect(refused).toMatchObject({ code: 409, reason: 'Conflict' });
    }
    const there = await client.get<ConfigMap>(CONFIG_MAPS, place('fresh'));
    expect(there.metadata.resourceVersion).toBe(made.metadata.resourceVersion);
  });

  it('writes the status and nothing else through the subresource', async () => {
    const labels = { app: 'd' };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const spec = { replicas: 1, selector: { matchLabels: labels }, template };
    const made = await client.create<Deployment>(DEPLOYMENTS, { metadata: place('d'), spec });
    const options = { fieldManager: 'autossh-operator', subresource: 'status' } as const;
    const wanted: Deployment = { metadata: place('d'), status: { replicas: 3 } };
    expect((await client.apply(DEPLOYMENTS, wanted, options)).status?.replicas).toBe(3);
    const body = { spec: { replicas: 9 }, status: { replicas: 5 } };
    await client.patch(DEPLOYMENTS, place('d'), { type: 'merge', body }, { subresource: 'status' });
    const now = await client.get<Deployment>(DEPLOYMENTS, place('d'));
    expect(now).toMatchObject({ spec: { replicas: 1 }, status: { replicas: 5 } });
    expect(now.metadata.generation).toBe(made.metadata.generation);
  });

  it('uses few connections for many calls, and is known by its name', async () => {
    const { hostname, port } = new URL(server.credentials.server);
    const proxy = await createTcpProxy({ host: hostname, port: Number(port) });
    const { meter, value } = createRecordingMeter();
    const made = clientOf(text, { server: `https://127.0.0.1:${proxy.port}`, meter });
    for (let i = 0; i < 100; i++) await made.client.list(NAMESPACES);
    expect(proxy.made()).toBeLessThanOrEqual(2);
    await Promise.all(Array.from({ length: 40 }, () => made.client.list(NAMESPACES)));
    for (let i = 0; i < 100; i++) await made.client.list(NAMESPACES);
    expect(proxy.made()).toBeLessThanOrEqual(45);
    expect(value(`rest_client_requests_total{code=200,host=127.0.0.1:${proxy.port},method=GET}`)).toBe(240);
    await made.connection.close();
    await until('the connections to end', () => proxy.open() === 0);
    await proxy.close();
    const named = await client.apply(CONFIG_MAPS, map('agent', { x: '1' }), { fieldManager: 'm' });
    const created = await client.create(CONFIG_MAPS, map('agent-2', { x: '1' }));
    expect(JSON.stringify(named.metadata.managedFields)).toContain('"manager":"m"');
    // Without a field manager the server takes the name of the User-Agent.
    expect(JSON.stringify(created.metadata.managedFields)).toContain('"manager":"autossh-operator-test"');
  });

  describe('behind a proxy that fails', () => {
    let proxy: FaultProxy;
    let faulty: KubeClient;
    beforeAll(async () => {
      proxy = await createFaultProxy(server.credentials);
      faulty = keep(clientOf(text, { server: proxy.url }));
    });
    afterAll(() => proxy?.close());
    const failing = (times: number, status: number, headers: Record<string, string> = {}) => {
      let left = times;
      proxy.requests.length = 0;
      proxy.setFault(() => (left-- > 0 ? { status, headers } : undefined));
    };

    it('waits as long as it is told to and repeats, a write too', async () => {
      failing(2, 429, { 'Retry-After': '1' });
      const started = performance.now();
      await faulty.create(CONFIG_MAPS, map('patient'));
      expect(performance.now() - started).toBeGreaterThanOrEqual(2000);
      expect(proxy.requests).toHaveLength(3);
    });

    it('reads again after a 5xx or a lost connection, but does not write again', async () => {
      failing(2, 503);
      await faulty.get(CONFIG_MAPS, place('patient'));
      expect(proxy.requests).toHaveLength(3);
      failing(1, 500);
      expect(await refusal(faulty.create(CONFIG_MAPS, map('once')))).toMatchObject({ code: 500 });
      expect(proxy.requests).toHaveLength(1);
      proxy.requests.length = 0;
      proxy.setFault(() => ({ loseAnswer: true }));
      await expect(faulty.create(CONFIG_MAPS, map('lost'))).rejects.toThrow();
      expect(proxy.requests).toHaveLength(1);
      proxy.setFault(undefined);
      // It was done all the same: this is why a write is not repeated.
      expect((await faulty.get(CONFIG_MAPS, place('lost'))).metadata.name).toBe('lost');
    });

    it.each([
      ['told to wait', { status: 429, headers: { 'Retry-After': '1' } }],
      ['refused for its credentials', { status: 401 }],
      ['failed and told to wait', { status: 503, headers: { 'Retry-After': '1' } }],
    ])('sends a write that was %s no second time for somebody who leads no more', async (_, fault) => {
      const made = clientOf(text, { server: proxy.url });
      keep(made);
      let leads = true;
      const guarded = createClient({ connection: guardWrites(made.connection, () => leads) });
      proxy.requests.length = 0;
      proxy.setFault(() => {
        if (!leads) return undefined;
        leads = false;
        return fault;
      });
      await expect(guarded.create(CONFIG_MAPS, map('deposed'))).rejects.toBeInstanceOf(WriteRefused);
      expect(proxy.requests).toHaveLength(1);
      proxy.setFault(undefined);
    });

    it('takes back a write that is under way when the lease is lost, and leaves reads alone', async () => {
      const made = clientOf(text, { server: proxy.url });
      keep(made);
      const lost = new AbortController();
      const guarded = createClient({ connection: guardWrites(made.connection, () => true, lost.signal) });
      const onAnswer = () => lost.abort(new Error('the lease is lost'));
      proxy.setFault((method) => (method === 'POST' ? { loseAnswer: true, onAnswer } : undefined));
      await expect(guarded.create(CONFIG_MAPS, map('taken-back'))).rejects.toThrow('the lease is lost');
      await guarded.list(CONFIG_MAPS);
      proxy.setFault(undefined);
    });

    it('sends nothing any more when its connection is closed, not even what was about to be repeated', async () => {
      const made = clientOf(text, { server: proxy.url });
      await made.client.list(NAMESPACES);
      proxy.requests.length = 0;
      // Long enough to be closed in, also on a machine that stands still for a moment.
      proxy.setFault(() => ({ status: 429, headers: { 'Retry-After': '8' } }));
      const ended = Promise.allSettled([made.client.create(CONFIG_MAPS, map('closed'))]);
      await until('the first attempt', () => proxy.requests.length === 1);
      await made.connection.close();
      await expect(made.client.create(CONFIG_MAPS, map('closed'))).rejects.toThrow('the connection is closed');
      expect((await ended)[0].status).toBe('rejected');
      await made.connection.close();
      expect(proxy.requests).toHaveLength(1);
      proxy.setFault(undefined);
    });

    it('says what came instead of JSON, but not the text: it may be half a Secret', async () => {
      for (const body of ['<html>s3cret</html>', '{"data":{"password":"s3cret"']) {
        proxy.setFault(() => ({ status: 200, body }));
        const error = await faulty.create(CONFIG_MAPS, map('strange')).catch((reason: Error) => reason);
        expect(inWords(error)).toBe(
          `POST /api/v1/namespaces/default/configmaps: expected JSON; got ${body.length} bytes of application/json that are none`,
        );
      }
      proxy.setFault(undefined);
    });

    it('gives up in time, and at once when told to', async () => {
      proxy.setFault(() => ({ status: 429, headers: { 'Retry-After': '60' } }));
      await expect(faulty.get(CONFIG_MAPS, place('patient'), { timeoutMs: 300 })).rejects.toThrow('within 300 ms');
      const stop = new AbortController();
      const asked = faulty.get(CONFIG_MAPS, place('patient'), { signal: stop.signal });
      stop.abort(new Error('enough'));
      await expect(asked).rejects.toThrow('enough');
      proxy.setFault(undefined);
    });
  });

  it('says who does not answer, and why', async () => {
    const port = await freePort();
    const nobody = keep(clientOf(text, { server: `https://127.0.0.1:${port}` }));
    const unanswered = await nobody.create(CONFIG_MAPS, map('x')).catch((error: Error) => error);
    expect(inWords(unanswered)).toMatch(
      /^POST \/api\/v1\/namespaces\/default\/configmaps: no answer from 127\.0\.0\.1:\d+: connect ECONNREFUSED /,
    );
  });

  it('takes a new token from its file when the server refuses the old one', async () => {
    const token = async (account: string) => {
      await client.create(
        { apiVersion: 'v1', kind: 'ServiceAccount', plural: 'serviceaccounts', namespaced: true },
        {
          metadata: place(account),
        },
      );
      const path = `/api/v1/namespaces/default/serviceaccounts/${account}/token`;
      return ((await client.raw('POST', path, { spec: {} })) as { status: { token: string } }).status.token;
    };
    const tokenFile = join(server.dir, 'token');
    const file = join(server.dir, 'token-kubeconfig');
    const config = JSON.parse(text);
    config.users[0].user = { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } };
    writeFileSync(file, JSON.stringify(config));
    writeFileSync(tokenFile, await token('first'));
    const connection = connect({ load: () => loadKubeConfig({ KUBECONFIG: file }), userAgent: 'test' });
    const rotating = keep({ client: createClient({ connection }), connection });
    const whoAmI = async () => {
      const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
      const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
      const answer = (await rotating.raw('POST', path, body)) as { status: { userInfo: { username: string } } };
      return answer.status.userInfo.username;
    };
    expect(await whoAmI()).toBe('system:serviceaccount:default:first');
    writeFileSync(tokenFile, await token('second'));
    await server.kubectl(['delete', 'serviceaccount', 'first']);
    // The server remembers tokens that were good for 10 s.
    const isSecond = async () => (await whoAmI()).endsWith(':second');
    await until('the second token in use', isSecond, { deadlineMs: 60_000, everyMs: 200 });
  });
});

describe('a kubeconfig', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const load = (content: string) => {
    const file = join(dir, 'kubeconfig');
    writeFileSync(file, content);
    return () => loadKubeConfig({ KUBECONFIG: file });
  };
  it('that is broken is told of in one line', () => {
    expect(() => loadKubeConfig({ KUBECONFIG: '/nonexistent' })).toThrow(
      /expected a readable kubeconfig at \/nonexistent; got: .*ENOENT/,
    );
    expect(() => loadKubeConfig({ HOME: '/nonexistent' })).toThrow(KubeConfigError);
    expect(load('')).toThrow(KubeConfigError);
    expect(load('{unclosed')).toThrow(/expected a readable kubeconfig/);
    expect(load('a list\n')).toThrow(KubeConfigError);
    const clusters = [{ name: 'c', cluster: { server: 'https://s' } }];
    expect(load(JSON.stringify({ clusters, users: [], contexts: [] }))).toThrow('expected a current context');
    const contexts = [{ name: 'x', context: { cluster: 'c', user: 'u' } }];
    expect(load(JSON.stringify({ clusters, contexts, users: [], 'current-context': 'x' }))).toThrow(
      'expected user "u"',
    );
    expect(load(JSON.stringify({ clusters: [], contexts, users: [], 'current-context': 'x' }))).toThrow(
      'expected cluster "c"',
    );
  });
});
