import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { createEventRecorder, type NewEvent } from '../../src/kube/events.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { EVENTS } from '../../src/kube/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createRecordingLog, createRecordingMeter } from '../support/kube/recording.ts';
import { createVirtualClock } from '../support/kube/virtual-clock.ts';

type Event = KubeObject & { note: string; reason: string; series?: { count: number } };

describe('events on a real API server', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let client: KubeClient;
  let connection: Connection;
  beforeAll(async () => {
    server = await upApiServer();
    ({ client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8')));
  });
  afterAll(async () => {
    await connection?.close();
    await server?.down();
  });

  const make = (seriesMs = 60_000) => {
    const clock = createVirtualClock(new Date());
    const { meter, value } = createRecordingMeter();
    const { log, lines } = createRecordingLog();
    const recorder = createEventRecorder({
      client,
      controller: 'autossh.dev/operator',
      instance: 'pod-1',
      seriesMs,
      clock,
      log,
      meter,
    });
    return {
      clock,
      recorder,
      lines,
      dropped: (reason: string) => value(`kube_events_dropped_total{reason=${reason}}`),
    };
  };
  const about = (name: string): NewEvent => ({
    regarding: { apiVersion: 'v1', kind: 'ConfigMap', name, namespace: 'default', uid: `uid-${name}` },
    type: 'Warning',
    reason: 'AuthFailed',
    action: 'Connect',
    note: 'the bastion refused the key',
  });
  const written = async (name: string) =>
    (await client.list<Event>(EVENTS, { namespace: 'default', fieldSelector: `regarding.name=${name}` })).items;

  it('are found by kubectl, and a repetition is a count', async () => {
    const { recorder, clock } = make();
    for (let i = 0; i < 5; i++) recorder.record(about('series'));
    await recorder.flush(30_000);
    recorder.record(about('series'));
    recorder.record(about('series'));
    await recorder.flush(30_000);
    const events = await written('series');
    expect(events.map(({ series }) => series?.count)).toEqual([7]);
    const { stdout } = await server.kubectl(['events', '--for', 'configmap/series', '-o', 'json']);
    expect(stdout).toContain('AuthFailed');
    expect(clock.pending()).toBe(0);
  });

  it('of a series are written when it pauses, without another one coming', async () => {
    const { recorder, clock } = make(1000);
    recorder.record(about('last'));
    await recorder.flush(30_000);
    recorder.record(about('last'));
    recorder.record(about('last'));
    expect((await written('last'))[0]?.series).toBeUndefined();
    await clock.advance(1000);
    await recorder.flush(30_000);
    expect((await written('last'))[0]?.series?.count).toBe(3);
  });

  it('begin anew after a pause, and when the server forgot them', async () => {
    const { recorder, clock } = make();
    recorder.record(about('anew'));
    await recorder.flush(30_000);
    await clock.advance(7 * 60_000);
    recorder.record(about('anew'));
    await recorder.flush(30_000);
    const events = await written('anew');
    expect(events).toHaveLength(2);
    for (const { metadata } of events) await client.delete(EVENTS, { namespace: 'default', name: metadata.name });
    recorder.record(about('anew'));
    await recorder.flush(30_000);
    expect((await written('anew')).map(({ series }) => series?.count)).toEqual([2]);
  });

  it('of an object that has too much to say are cut short', async () => {
    const { recorder, dropped, clock } = make();
    for (let i = 0; i < 40; i++) recorder.record({ ...about('spam'), note: `attempt ${i}` });
    await recorder.flush(30_000);
    expect(await written('spam')).toHaveLength(25);
    expect(dropped('spam')).toBe(15);
    await clock.advance(300_000);
    recorder.record({ ...about('spam'), note: 'later' });
    await recorder.flush(30_000);
    expect(await written('spam')).toHaveLength(26);
  });

  it('that cannot be written harm nobody', async () => {
    const { recorder, dropped, lines } = make();
    const { regarding, ...rest } = about('lost');
    recorder.record({ ...rest, regarding: { ...regarding, namespace: 'no-such-namespace' } });
    recorder.record({ ...rest, regarding: undefined } as unknown as NewEvent);
    recorder.record({ ...about('long'), note: 'x'.repeat(5000) });
    await recorder.flush(30_000);
    expect([dropped('refused'), dropped('error')]).toEqual([1, 1]);
    expect(lines.map(({ message }) => message).sort()).toEqual(['event not recorded', 'event not written']);
    expect((await written('long'))[0]?.note).toHaveLength(1024);
  });
});
