import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { CONFIG_MAPS, NAMESPACES } from '../../src/kube/resource.ts';
import { SSH_TUNNELS } from '../../src/operator/resource.ts';
import { followConfigMaps } from '../soak/config-map-history.ts';
import { type Stored, type Tunnel, whyMissed } from '../soak/why-missed.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { createFaultProxy, type Fault, type FaultProxy } from '../support/kube/fault-proxy.ts';
import { startOperator, sumOf, writeKubeconfig } from '../support/kube/operator.ts';
import { tunnelOf } from '../support/tunnels.ts';
import { until } from '../support/until.ts';

const TUNNELS = 60;
/** One in so many is changed right after it is made. */
const CHANGED_ONE_IN = 3;
/** Requests in a row that go wrong, and as many that do not, again and again. */
const BURST = 12;
/** All that may come of a request, one after the other. */
const FAULTS: readonly Fault[] = [
  { status: 429, headers: { 'Retry-After': '1' } },
  { status: 503, body: 'no' },
  { loseAnswer: true },
  { status: 500 },
  { breaks: 'truncate', after: { bytes: 40 } },
  { breaks: 'cut' },
];
const PATIENT = { deadlineMs: 120_000, everyMs: 100 };

describe('the operator, on an API server that fails in bursts', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let proxy: FaultProxy;
  let client: KubeClient;
  let connection: Connection;
  let tries = 0;
  beforeAll(async () => {
    server = await upApiServer();
    await establishCrd(server);
    ({ client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8')));
    proxy = await createFaultProxy(server.credentials);
  });
  afterAll(async () => {
    await proxy?.close();
    await connection?.close();
    await server?.down();
  });

  it('misses nothing, doubles nothing, and does not hurry', async () => {
    // A second try finds nothing of the first.
    const namespace = `bursts-${++tries}`;
    await client.create(NAMESPACES, { metadata: { name: namespace } });
    const kubeconfig = writeKubeconfig(join(server.dir, 'bursts'), { server: proxy.url, user: {} });
    const operator = await startOperator({ server, kubeconfig, namespace, name: 'bursts' });
    const state = () => operator.daemon.logTail();
    const stop = new AbortController();
    const history = followConfigMaps(client, namespace, stop.signal);
    try {
      const leads = () => operator.lines().some(({ msg }) => msg === 'controller started');
      await until('it to work', leads, { ...PATIENT, state });
      let asked = 0;
      let failed = 0;
      /** Writes the server may have done, and those of them it was not seen to have done. */
      const writes = { done: 0, unseen: 0 };
      proxy.setFault((method, url) => {
        // A lease that is lost is the end of the process: another matter.
        if (url.includes('/leases') || url.includes('/events')) return undefined;
        const fails = Math.floor(asked++ / BURST) % 2 === 1;
        const fault = fails ? FAULTS[failed++ % FAULTS.length] : undefined;
        if (method === 'PATCH' && !(fault !== undefined && 'status' in fault)) {
          writes.done++;
          if (fault !== undefined) writes.unseen++;
        }
        return fault;
      });
      let generations = 0;
      const put = async (index: number, port: number) => {
        const { apiVersion, kind, spec } = tunnelOf({ ssh: { port } });
        const metadata = { name: `t-${index}`, namespace };
        await client.apply<Tunnel>(
          SSH_TUNNELS,
          { apiVersion, kind, metadata, spec },
          { fieldManager: 'test', force: true },
        );
        generations++;
      };
      for (let index = 0; index < TUNNELS; index++) {
        await put(index, 22);
        if (index % CHANGED_ONE_IN === 0) await put(index, 2222);
        // The pace of the load, not a wait for something.
        await pause(50);
      }
      const missed = async () => {
        const { items } = await client.list<Tunnel>(SSH_TUNNELS, { namespace });
        const configMaps = (await client.list<Stored>(CONFIG_MAPS, { namespace })).items;
        const byName = new Map(configMaps.map((one) => [one.metadata.name, one]));
        return items.flatMap((tunnel) => {
          const why = whyMissed(tunnel, byName.get(`${tunnel.metadata.name}-autossh`));
          return why === undefined ? [] : [`${tunnel.metadata.name}: ${why}`];
        });
      };
      // It goes on failing all the time.
      let left: string[] = [];
      const isDone = async () => {
        left = await missed();
        return left.length === 0;
      };
      await until('every tunnel to be reconciled', isDone, {
        ...PATIENT,
        state: () => `${left.join('\n')}\n${state()}`,
      });
      expect(failed).toBeGreaterThan(3 * FAULTS.length);
      expect(history.rewritten()).toEqual([]);
      // A ConfigMap and a status for each generation; what may have been done is done once more.
      expect(writes.done).toBeLessThanOrEqual(2 * (generations + writes.unseen));
      expect(operator.daemon.running()).toBe(true);
      const samples = await operator.metrics();
      expect(sumOf(samples, 'controller_runtime_reconcile_panics_total', { controller: 'sshtunnel' })).toBe(0);
      expect(operator.lines().filter(({ level }) => level === 'error')).toEqual([]);
    } finally {
      proxy.setFault(undefined);
      await operator.daemon.kill();
      stop.abort();
      await history.ended;
    }
  });
});
