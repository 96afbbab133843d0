import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { createInformer } from '../../src/kube/informer.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS } from '../../src/kube/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { type Breaks, createFaultProxy, type Fault } from '../support/kube/fault-proxy.ts';
import { createWriter, expectToldOnce, isUpToDate, listenTo } from '../support/kube/history.ts';
import { createRecordingLog, createRecordingMeter } from '../support/kube/recording.ts';
import { until } from '../support/until.ts';

const OBJECTS = 25;
const PAGE = 10;
/** How often it happens: a second time, too, nothing may be lost. Of a list more often than the client itself repeats it. */
const timesOf = (breaks: Breaks, { at }: Moment): number => (isWatch === at || breaks === 'stall' ? 2 : 5);
const IMPATIENT_MS = 1500;
/** Between changes, while we wait for it to happen. */
const PACE_MS = 30;

const isWatch = (url: string) => url.includes('watch=true');
const isLaterPage = (url: string) => url.includes('continue=');
const isFirstPage = (url: string) => url.includes('limit=') && !isLaterPage(url);

type Moment = {
  readonly name: string;
  readonly at: (url: string) => boolean;
  readonly after?: Extract<Fault, { breaks: Breaks }>['after'];
};
const MOMENTS: readonly Moment[] = [
  { name: 'a list, before the headers of its first page', at: isFirstPage },
  { name: 'a list, before the headers of a later page', at: isLaterPage },
  { name: 'a list, in its first page', at: isFirstPage, after: { bytes: 700 } },
  { name: 'a list, in a later page', at: isLaterPage, after: { bytes: 700 } },
  { name: 'a watch, before its headers', at: isWatch },
  { name: 'a watch, before its first event', at: isWatch, after: {} },
  { name: 'a watch, in its first event', at: isWatch, after: { bytes: 100 } },
  { name: 'a watch, in a later event', at: isWatch, after: { lines: 2, bytes: 300 } },
  { name: 'a watch, between two events', at: isWatch, after: { lines: 2 } },
];
const BREAKS: readonly Breaks[] = ['cut', 'stall', 'truncate'];
const ROWS = MOMENTS.flatMap((moment) => BREAKS.map((breaks) => ({ breaks, moment, what: moment.name })));

describe('an informer behind a wire that breaks', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let text: string;
  let client: KubeClient;
  let connection: Connection;
  beforeAll(async () => {
    server = await upApiServer();
    text = readFileSync(server.kubeconfig, 'utf8');
    ({ client, connection } = clientOf(text));
  });
  afterAll(async () => {
    await connection?.close();
    await server?.down();
  });

  /** A proxy and a client of its own, so that the rows can go side by side. */
  const behindProxy = async () => {
    const proxy = await createFaultProxy(server.credentials);
    const made = clientOf(text, { server: proxy.url });
    const close = async () => {
      await made.connection.close();
      await proxy.close();
    };
    return { proxy, client: made.client, connection: made.connection, close };
  };

  it.concurrent.each(ROWS)('misses and doubles nothing: $breaks of $what', async ({ breaks, moment }) => {
    const label = `row-${ROWS.findIndex((row) => row.breaks === breaks && row.moment === moment)}`;
    const { proxy, client: faulty, close } = await behindProxy();
    const { written, put, remove } = createWriter(client, label);
    const { meter, value } = createRecordingMeter();
    const { log, text: said } = createRecordingLog();
    const times = timesOf(breaks, moment);
    const onList = moment.at !== isWatch;
    const informer = createInformer<KubeObject>({
      ...{ client: faulty, resource: CONFIG_MAPS, labelSelector: `test=${label}`, pageSize: PAGE, log, meter },
      silenceMs: IMPATIENT_MS,
      // A list that nobody disturbs may take its time on a busy machine.
      ...(onList ? { listTimeoutMs: IMPATIENT_MS } : {}),
    });
    const heard = listenTo(informer);
    for (let i = 0; i < OBJECTS; i++) await put(String(i));
    let broken = 0;
    proxy.setFault((_method, url) => {
      if (!moment.at(url) || broken === times) return undefined;
      broken++;
      return { breaks, ...(moment.after === undefined ? {} : { after: moment.after }) };
    });
    const stop = new AbortController();
    const ended = informer.run(stop.signal);
    try {
      if (!onList) await informer.synced;
      // All the time something changes, goes and comes back.
      const change = async (round: number) => {
        await put(String(round % OBJECTS));
        await remove('0');
        await put('0');
      };
      for (let round = 1; broken < times || !informer.hasSynced(); round++) {
        expect(round, said()).toBeLessThan(1000);
        await change(round);
        await delay(PACE_MS);
      }
      for (let round = 1; round <= 3; round++) await change(round);
      await remove('1');
      const all = () => isUpToDate(heard.told, written);
      await until('all changes', all, { deadlineMs: 60_000, state: said });
      expect(broken).toBe(times);
      expectToldOnce(heard, written, { fromTheFirst: !onList });
      if (!onList) expect(value('kube_reflector_lists_total{resource=configmaps}')).toBe(1);
      const { items } = await client.list(CONFIG_MAPS, { labelSelector: `test=${label}` });
      expect(informer.store.size()).toBe(items.length);
      // At most four requests per list, the client's own repetitions among them, and every wait between lists grows.
      expect(proxy.requests.length).toBeLessThan(40);
    } finally {
      stop.abort();
      await ended;
      await close();
    }
  });
});
