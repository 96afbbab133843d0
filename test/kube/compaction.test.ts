import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { createInformer } from '../../src/kube/informer.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS } from '../../src/kube/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createFaultProxy, type FaultProxy } from '../support/kube/fault-proxy.ts';
import { createWriter, expectToldOnce, isUpToDate, listenTo } from '../support/kube/history.ts';
import { createRecordingLog, createRecordingMeter } from '../support/kube/recording.ts';
import { until } from '../support/until.ts';

const outage = { status: 503, body: 'no' };

// The server's own cache of ConfigMaps would answer in the place of etcd, whatever etcd has forgotten.
describe('an informer on an API server without a watch cache, after a compaction of etcd', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let client: KubeClient;
  let faulty: KubeClient;
  let faults: FaultProxy;
  const connections: Connection[] = [];
  let end = async () => {};

  beforeAll(async () => {
    server = await upApiServer({ extraFlags: ['--watch-cache-sizes=configmaps#0'] });
    const text = readFileSync(server.kubeconfig, 'utf8');
    faults = await createFaultProxy(server.credentials);
    const direct = clientOf(text);
    const behind = clientOf(text, { server: faults.url });
    connections.push(direct.connection, behind.connection);
    client = direct.client;
    faulty = behind.client;
  });
  afterEach(async () => {
    await end();
    faults.setFault(undefined);
  });
  afterAll(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await faults?.close();
    await server?.down();
  });

  const start = (label: string, pageSize = 100) => {
    const { meter, value } = createRecordingMeter();
    const { log, lines, text: said } = createRecordingLog();
    const labelSelector = `test=${label}`;
    const informer = createInformer<KubeObject>({
      ...{ client: faulty, resource: CONFIG_MAPS, labelSelector, pageSize, log, meter },
    });
    const heard = listenTo(informer);
    const stop = new AbortController();
    const ended = informer.run(stop.signal);
    end = async () => {
      stop.abort();
      await ended;
    };
    const count = (metric: string, more = '') =>
      value(`kube_reflector_${metric}_total{${more}resource=configmaps}`) ?? 0;
    return { informer, ...heard, lines, said, count };
  };
  /** What the server itself answers to a watch from there: the first event, or the error in its place. */
  const watchFrom = async (resourceVersion: string, label: string) => {
    const query = { watch: true, resourceVersion, labelSelector: `test=${label}` };
    const { signal } = new AbortController();
    const { statusCode, body } = await client.open({ path: '/api/v1/configmaps', query, signal });
    let said = '';
    for await (const chunk of body) {
      said += chunk;
      if (said.includes('\n')) break;
    }
    const { type, object } = JSON.parse(said.split('\n')[0] ?? '') as {
      type: string;
      object: { code?: number; message?: string };
    };
    return { statusCode, type, code: object.code, message: object.message };
  };

  it('lists again when a watch goes on from what was compacted, and for no other reason', async () => {
    const { written, put, remove } = createWriter(client, 'watch');
    for (const name of ['changed', 'gone', 'another', 'kept']) await put(name);
    const one = start('watch');
    await one.informer.synced;
    await put('changed');
    await until('the change', () => isUpToDate(one.told, written), { deadlineMs: 60_000, state: one.said });
    /** Nothing gets through while the world changes; the watch is cut. Returns from where it has to go on. */
    const blind = async (meanwhile: () => Promise<unknown>) => {
      const from = written.get('default/watch-changed')?.at(-1) ?? '';
      faults.setFault(() => outage);
      faults.cut();
      await meanwhile();
      faults.setFault(undefined);
      await until('all of it', () => isUpToDate(one.told, written), { deadlineMs: 60_000, state: one.said });
      return from;
    };
    const change = async () => {
      await remove('gone');
      await remove('another');
      await put('another');
      await put('new');
      await put('changed');
    };

    const uncompacted = await blind(change);
    expect(await watchFrom(uncompacted, 'watch')).toMatchObject({ statusCode: 200, type: 'DELETED' });
    expectToldOnce(one, written, { fromTheFirst: false });
    expect([one.count('lists'), one.count('errors', 'reason=Gone,')]).toEqual([1, 0]);

    await put('gone');
    await remove('new');
    await put('changed');
    await until('the next round', () => isUpToDate(one.told, written), { deadlineMs: 60_000, state: one.said });
    const compacted = await blind(async () => {
      await change();
      await server.compact();
    });
    const refusal = { statusCode: 200, type: 'ERROR', code: 410 };
    expect(await watchFrom(compacted, 'watch')).toMatchObject({
      ...refusal,
      message: expect.stringContaining(COMPACTED),
    });
    const gone = one.lines.filter(({ fields }) => fields['reason'] === 'Gone');
    expect(gone.map(({ fields }) => fields['error'])).toEqual([expect.stringContaining(COMPACTED)]);
    expect([one.count('lists'), one.count('errors', 'reason=Gone,')]).toEqual([2, 1]);
    expectToldOnce(one, written, { fromTheFirst: false });
    expect(one.informer.store.size()).toBe(4);
  });

  it('begins a list anew whose next page was compacted away', async () => {
    const { written, put, remove } = createWriter(client, 'list');
    for (let i = 0; i < 25; i++) await put(String(i));
    const answers: number[] = [];
    faults.requests.length = 0;
    faults.setFault((_method, url) => {
      if (!url.includes('continue=')) return undefined;
      const before = async () => {
        if (answers.length > 0) return;
        // On the page that is here already, and on one that is not.
        await remove('0');
        await put('1');
        await put('24');
        await server.compact();
      };
      return { before, onAnswer: (status) => answers.push(status) };
    });
    const one = start('list', 10);
    await one.informer.synced;
    await until('all of it', () => isUpToDate(one.told, written), { deadlineMs: 60_000, state: one.said });
    expect(answers).toEqual([410]);
    const lists = faults.requests.filter((line) => !line.includes('watch=true'));
    expect(lists.map((line) => [line.includes('limit='), line.includes('continue=')])).toEqual([
      [true, false],
      [true, true],
      [false, false],
    ]);
    expectToldOnce(one, written, { fromTheFirst: false });
    expect(one.informer.store.size()).toBe(24);
    expect([one.count('lists'), one.count('errors', 'reason=Gone,')]).toEqual([1, 0]);
  });
});

/** The words of the storage for etcd's ErrCompacted; the watch cache says "too old resource version: 1 (2)". */
const COMPACTED = 'The resourceVersion for the provided watch is too old';
