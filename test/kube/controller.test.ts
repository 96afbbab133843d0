import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createController, source } from '../../src/kube/controller.ts';
import { createInformer } from '../../src/kube/informer.ts';
import { type KubeObject, keyOf, splitKey } from '../../src/kube/object.ts';
import { CONFIG_MAPS } from '../../src/kube/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createRecordingLog } from '../support/kube/recording.ts';
import { until } from '../support/until.ts';

type ConfigMap = KubeObject & { data?: Record<string, string> };

const ROUNDS = 3;
const EVERY_MS = 100;
const PER_ROUND = 40;

describe('a controller on a real API server', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  beforeAll(async () => {
    server = await upApiServer();
  });
  afterAll(async () => {
    await server?.down();
  });

  it('misses nothing and doubles nothing while the server crashes again and again', async () => {
    const { client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8'));
    const { log, text } = createRecordingLog();
    const informers = ['source', 'made'].map((kind) =>
      createInformer<ConfigMap>({ client, resource: CONFIG_MAPS, labelSelector: `kind=${kind}`, log }),
    );
    const [sources, made] = informers;
    if (sources === undefined || made === undefined) throw new Error('expected two informers');
    const atWork = new Set<string>();
    const stop = new AbortController();
    const controller = createController({
      name: 'copy',
      sources: [
        source(sources, { keysOf: (object) => [keyOf(object)] }),
        source(made, { keysOf: ({ metadata }) => [`default/${metadata.name?.replace(/^made-/, '')}`] }),
      ],
      concurrency: 4,
      queue: { maxDelayMs: 2000 },
      log,
      reconcile: async (key, { signal }) => {
        if (atWork.has(key)) throw new Error(`${key} has two workers`);
        atWork.add(key);
        try {
          const { name } = splitKey(key);
          const from = sources.store.get(key);
          const place = { namespace: 'default', name: `made-${name}` };
          if (from === undefined) {
            if (made.store.get(`default/made-${name}`)) await client.delete(CONFIG_MAPS, place, { signal });
            return;
          }
          const to: ConfigMap = { metadata: { ...place, labels: { kind: 'made' } }, data: from.data ?? {} };
          await client.apply(CONFIG_MAPS, to, { fieldManager: 'copy', force: true, signal });
        } finally {
          atWork.delete(key);
        }
      },
    });
    const running = [...informers.map((informer) => informer.run(stop.signal)), controller.run(stop.signal)];
    const insist = (action: () => Promise<unknown>) =>
      until(
        'the server to take it',
        () =>
          action().then(
            () => true,
            () => false,
          ),
        { deadlineMs: 120_000, everyMs: 50 },
      );
    const put = (name: string, v: string) =>
      client.apply<ConfigMap>(
        CONFIG_MAPS,
        { metadata: { name, namespace: 'default', labels: { kind: 'source' } }, data: { v } },
        { fieldManager: 'test', force: true },
      );

    for (let round = 0; round < ROUNDS; round++) {
      let restarted: Promise<void> = Promise.resolve();
      for (let i = 0; i < PER_ROUND; i++) {
        const name = `s-${round}-${i}`;
        await insist(() => put(name, '1'));
        if (i % 3 === 0) await insist(() => put(name, '2'));
        if (i % 5 === 0)
          await insist(() =>
            client.delete(CONFIG_MAPS, { namespace: 'default', name }).catch((error: { code?: number }) => {
              if (error.code !== 404) throw error;
            }),
          );
        if (i === PER_ROUND / 2) restarted = server.kill().then(() => server.restart());
        // The pace of the load, not a wait for something.
        await pause(EVERY_MS);
      }
      await restarted;
    }

    const summary = async (kind: string, prefix: string) => {
      const { items } = await client.list<ConfigMap>(CONFIG_MAPS, { labelSelector: `kind=${kind}` });
      return items.map(({ metadata, data }) => `${metadata.name?.slice(prefix.length)}=${data?.['v']}`).sort();
    };
    const wanted = await summary('source', '');
    expect(wanted).toHaveLength(ROUNDS * PER_ROUND * 0.8);
    await until('every copy', async () => JSON.stringify(await summary('made', 'made-')) === JSON.stringify(wanted), {
      deadlineMs: 120_000,
      everyMs: 100,
      state: () => text().slice(-3000),
    });
    expect(text()).not.toContain('two workers');

    // Somebody deletes what we made: it comes back.
    await client.delete(CONFIG_MAPS, { namespace: 'default', name: 'made-s-0-1' });
    await until('the copy to come back', async () => (await summary('made', 'made-')).length === wanted.length, {
      deadlineMs: 60_000,
      state: () => text().slice(-3000),
    });
    stop.abort();
    await Promise.all(running);
    await connection.close();
  });
});
