import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { KubeClient } from '../../../src/kube/client.ts';
import { createEventRecorder } from '../../../src/kube/events.ts';
import { createLeaderElector } from '../../../src/kube/leader-election.ts';
import { reflect } from '../../../src/kube/reflector.ts';
import { CONFIG_MAPS } from '../../../src/kube/resource.ts';
import { createWorkQueue } from '../../../src/kube/work-queue.ts';
import { createLeaseKeeper } from '../../support/kube/lease-keeper.ts';
import { createVirtualClock } from '../../support/kube/virtual-clock.ts';

const HOUR = 3_600_000;
const both = describe.each([
  ['forward', HOUR],
  ['back', -HOUR],
]);

/** Only the calls that are made; time is virtual here, so no server can be real. */
const clientWith = (calls: Partial<KubeClient>): KubeClient => calls as KubeClient;

both('when the time of day jumps %s by an hour', (_, ms) => {
  it('a leader goes on leading, and one that waits goes on waiting', async () => {
    const client = createLeaseKeeper();
    // The two see different clocks: only one of them jumps, each in its turn.
    const clock = createVirtualClock();
    const jumped = { ...clock, date: () => new Date(clock.date().getTime() + ms) };
    for (const [leaders, others] of [
      [clock, jumped],
      [jumped, clock],
    ] as const) {
      const elect = (identity: string, own: typeof clock) => {
        const elector = createLeaderElector({ client, namespace: 'n', name: 'l', identity, clock: own });
        const stop = new AbortController();
        const led = { count: 0 };
        const outcome = elector.run(stop.signal, async (signal) => {
          led.count++;
          if (!signal.aborted) await once(signal, 'abort');
        });
        return { elector, stop, led, outcome };
      };
      const first = elect('first', leaders);
      await clock.advance(100);
      const second = elect('second', others);
      await clock.advance(10_000);
      clock.jump(ms);
      expect(first.elector.isLeader()).toBe(true);
      for (let passed = 0; passed < 60; passed++) {
        await clock.advance(1_000);
        expect([first.elector.isLeader(), second.elector.isLeader(), second.led.count]).toEqual([true, false, 0]);
      }
      // It can be lost, though: by time that really passes.
      first.stop.abort();
      await clock.advance(10_000);
      expect(await first.outcome).toBe('stopped');
      expect(second.elector.isLeader()).toBe(true);
      second.stop.abort();
      await clock.advance(10_000);
      expect(await second.outcome).toBe('stopped');
    }
  });

  it('a key of the queue comes when its time has passed, no sooner and no later', async () => {
    const clock = createVirtualClock();
    const queue = createWorkQueue({ name: 'q', clock });
    queue.addAfter('delayed', 5_000);
    expect(queue.addRateLimited('failed')).toBe(5);
    expect(queue.addRateLimited('failed')).toBe(10);
    clock.jump(ms);
    expect(queue.addRateLimited('failed')).toBe(20);
    await clock.advance(4_999);
    expect(queue.depth()).toBe(1);
    await clock.advance(1);
    expect(queue.depth()).toBe(2);
    queue.shutDown();
  });

  it('a watch that speaks stays open, and one that is silent ends when its silence has lasted', async () => {
    const clock = createVirtualClock();
    const stop = new AbortController();
    let opened = 0;
    const open: KubeClient['open'] = async ({ signal }) => {
      opened++;
      const body = (async function* () {
        if (!signal.aborted) await once(signal, 'abort');
        yield new Uint8Array();
        throw signal.reason;
      })();
      return { statusCode: 200, headers: {}, body } as unknown as Awaited<ReturnType<KubeClient['open']>>;
    };
    const list = async () => ({ metadata: { resourceVersion: '1' }, items: [] });
    const client = clientWith({ open, list } as unknown as Partial<KubeClient>);
    const sink = { replace: () => {}, apply: () => {} };
    const running = reflect({ client, resource: CONFIG_MAPS, sink, clock, silenceMs: 90_000, signal: stop.signal });
    await clock.advance(1_000);
    clock.jump(ms);
    await clock.advance(88_000);
    expect(opened).toBe(1);
    await clock.advance(2_000);
    expect(opened).toBe(2);
    stop.abort();
    await running;
  });

  it('an event that comes again is counted, as long as its series lasts', async () => {
    const clock = createVirtualClock();
    const created: string[] = [];
    const counts: number[] = [];
    const client = clientWith({
      create: async (_: unknown, { metadata }: { metadata: { name: string } }) => void created.push(metadata.name),
      patch: async (_: unknown, __: unknown, { body }: { body: { series: { count: number } } }) =>
        void counts.push(body.series.count),
    } as unknown as Partial<KubeClient>);
    const recorder = createEventRecorder({ client, controller: 'c', instance: 'i', clock });
    const regarding = { apiVersion: 'v1', kind: 'Pod', name: 'p', namespace: 'n' };
    const event = { regarding, type: 'Warning', reason: 'Broken', action: 'Look', note: 'it is' } as const;
    recorder.record(event);
    await clock.advance(61_000);
    clock.jump(ms);
    recorder.record(event);
    await clock.advance(1_000);
    expect([created.length, counts]).toEqual([1, [2]]);
    // Long after, it is a new one.
    clock.jump(ms);
    await clock.advance(7 * 60_000);
    recorder.record(event);
    await clock.advance(1_000);
    expect(created.length).toBe(2);
  });
});
