import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createWorkQueue } from '../../../src/kube/work-queue.ts';
import { createRecordingMeter } from '../../support/kube/recording.ts';
import { createVirtualClock } from '../../support/kube/virtual-clock.ts';

const make = (options = {}) => {
  const clock = createVirtualClock();
  const meter = createRecordingMeter();
  return { clock, meter, queue: createWorkQueue({ name: 'q', clock, meter: meter.meter, ...options }) };
};

describe('the work queue', () => {
  it('has a key once, however often it is added', async () => {
    const { queue, meter } = make();
    for (const key of ['a', 'b', 'a']) queue.add(key);
    expect(queue.depth()).toBe(2);
    expect([await queue.get(), await queue.get()]).toEqual(['a', 'b']);
    expect(meter.value('workqueue_adds_total{controller=q,name=q}')).toBe(2);
  });

  it('gives a key to a second worker only when the first is done with it', async () => {
    const { queue } = make();
    queue.add('a');
    await queue.get();
    queue.add('a');
    queue.add('a');
    expect(queue.depth()).toBe(0);
    queue.done('a');
    expect(queue.depth()).toBe(1);
    expect(await queue.get()).toBe('a');
    queue.done('a');
    expect(queue.depth()).toBe(0);
  });

  it('wakes a waiting worker for each key', async () => {
    const { queue } = make();
    const both = Promise.all([queue.get(), queue.get()]);
    queue.add('a');
    queue.add('b');
    expect(await both).toEqual(['a', 'b']);
  });

  it('adds later, and the earlier of two times counts', async () => {
    const { queue, clock } = make();
    queue.addAfter('a', 1000);
    queue.addAfter('a', 200);
    queue.addAfter('a', 500);
    await clock.advance(199);
    expect(queue.depth()).toBe(0);
    await clock.advance(1);
    expect(queue.depth()).toBe(1);
    expect(await queue.get()).toBe('a');
    queue.done('a');
    await clock.advance(10_000);
    expect(queue.depth()).toBe(0);
  });

  it('doubles the wait of a failing key up to the maximum, and forgets', () => {
    const { queue } = make({ maxDelayMs: 100 });
    const waits = Array.from({ length: 7 }, () => queue.addRateLimited('a'));
    expect(waits).toEqual([5, 10, 20, 40, 80, 100, 100]);
    expect(queue.failures('a')).toBe(7);
    expect(queue.addRateLimited('b')).toBe(5);
    queue.forget('a');
    expect(queue.addRateLimited('a')).toBe(5);
    expect(queue.addRateLimited('c', 3000)).toBe(3000);
  });

  it('bounds the retries of all keys together', () => {
    const { queue } = make({ retriesPerSecond: 10, retryBurst: 100 });
    const waits = Array.from({ length: 300 }, (_, i) => queue.addRateLimited(`key-${i}`));
    expect(waits.filter((wait) => wait === 5)).toHaveLength(100);
    expect(waits[299]).toBe(20_000);
  });

  it('lets nobody wait after its end, and takes nothing more', async () => {
    const { queue, clock } = make();
    const waiting = queue.get();
    queue.addAfter('a', 10);
    queue.shutDown();
    expect(await waiting).toBeUndefined();
    queue.add('b');
    await clock.advance(100);
    expect(await queue.get()).toBeUndefined();
    expect(clock.pending()).toBe(0);
  });

  it('shows work that takes long', async () => {
    const { queue, clock, meter } = make();
    queue.add('a');
    await queue.get();
    await clock.advance(2000);
    queue.add('b');
    await queue.get();
    await clock.advance(1000);
    queue.measure();
    expect(meter.value('workqueue_unfinished_work_seconds{controller=q,name=q}')).toBe(4);
    expect(meter.value('workqueue_longest_running_processor_seconds{controller=q,name=q}')).toBe(3);
  });

  it('never has a key at two workers, and loses none, whatever happens', async () => {
    const step = fc.oneof(
      fc.record({ what: fc.constant('add' as const), key: fc.constantFrom('a', 'b', 'c') }),
      fc.record({ what: fc.constant('later' as const), key: fc.constantFrom('a', 'b', 'c'), ms: fc.nat(50) }),
      fc.record({ what: fc.constant('fail' as const), key: fc.constantFrom('a', 'b', 'c') }),
      fc.record({ what: fc.constant('get' as const) }),
      fc.record({ what: fc.constant('done' as const) }),
      fc.record({ what: fc.constant('wait' as const), ms: fc.nat(40) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { queue, clock } = make();
        const held: string[] = [];
        const owed = new Set<string>();
        const take = async () => {
          if (queue.depth() === 0) return;
          const key = (await queue.get()) ?? '';
          expect(held).not.toContain(key);
          held.push(key);
          owed.delete(key);
        };
        for (const one of steps) {
          if (one.what === 'add') queue.add(one.key);
          if (one.what === 'later') queue.addAfter(one.key, one.ms);
          if (one.what === 'fail') queue.addRateLimited(one.key);
          if ('key' in one) owed.add(one.key);
          if (one.what === 'get') await take();
          if (one.what === 'done' && held.length > 0) queue.done(held.shift() ?? '');
          if (one.what === 'wait') await clock.advance(one.ms);
        }
        await clock.advance(1_000_000);
        for (const key of held.splice(0)) queue.done(key);
        while (queue.depth() > 0) {
          await take();
          for (const key of held.splice(0)) queue.done(key);
        }
        expect([...owed]).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});
