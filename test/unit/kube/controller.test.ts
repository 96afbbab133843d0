import { describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/kube/api-error.ts';
import { type ControllerOptions, createController, source, TerminalError } from '../../../src/kube/controller.ts';
import type { Handler } from '../../../src/kube/informer.ts';
import { createRecordingLog, createRecordingMeter } from '../../support/kube/recording.ts';
import { createVirtualClock } from '../../support/kube/virtual-clock.ts';

const make = (options: Partial<ControllerOptions> & Pick<ControllerOptions, 'reconcile'>) => {
  const clock = createVirtualClock();
  const { meter, value } = createRecordingMeter();
  const { log, lines } = createRecordingLog();
  const stop = new AbortController();
  const controller = createController({ name: 'c', sources: [], clock, meter, log, ...options });
  const total = (result: string) => value(`controller_runtime_reconcile_total{controller=c,result=${result}}`);
  return { clock, value, lines, stop, controller, total, start: () => controller.run(stop.signal) };
};

describe('a controller', () => {
  it('retries what failed with growing waits, and begins anew after a success', async () => {
    const at: number[] = [];
    const failures: number[] = [];
    const { clock, controller, start, stop, total } = make({
      reconcile: async (_key, context) => {
        at.push(clock.now());
        failures.push(context.failures);
        if (at.length < 4) throw new Error('no');
      },
    });
    const running = start();
    controller.enqueue('a');
    await clock.advance(1000);
    expect(at).toEqual([0, 5, 15, 35]);
    expect(failures).toEqual([0, 1, 2, 3]);
    expect([total('error'), total('success')]).toEqual([3, 1]);
    controller.enqueue('a');
    await clock.advance(1000);
    expect(failures.at(-1)).toBe(0);
    stop.abort();
    await running;
  });

  it('waits as long as the server asks, comes back when asked, and gives up when told', async () => {
    const at: Record<string, number[]> = { busy: [], again: [], never: [] };
    const { clock, controller, start, stop, value } = make({
      reconcile: async (key) => {
        at[key]?.push(clock.now());
        if (key === 'busy' && at['busy']?.length === 1)
          throw new ApiError({ code: 429, reason: 'TooManyRequests', message: 'slow', retryAfterMs: 7000 });
        if (key === 'never') throw new TerminalError('in vain');
        return key === 'again' && at['again']?.length === 1 ? { requeueAfterMs: 3000 } : undefined;
      },
    });
    const running = start();
    for (const key of Object.keys(at)) controller.enqueue(key);
    await clock.advance(60_000);
    expect(at).toEqual({ busy: [0, 7000], again: [0, 3000], never: [0] });
    expect(value('controller_runtime_terminal_reconcile_errors_total{controller=c}')).toBe(1);
    stop.abort();
    await running;
  });

  it('tells bugs of its reconciler from failures, and tries again after both', async () => {
    const thrown = [
      new Error('no'),
      new DOMException('late', 'TimeoutError'),
      new TypeError('null'),
      'text',
      undefined,
    ];
    const left = [...thrown];
    const { clock, controller, start, stop, value, total } = make({
      reconcile: async () => {
        if (left.length > 0) throw left.shift();
      },
    });
    const running = start();
    expect(value('controller_runtime_reconcile_panics_total{controller=c}')).toBe(0);
    controller.enqueue('a');
    await clock.advance(1000);
    expect([total('error'), total('success')]).toEqual([thrown.length, 1]);
    expect(value('controller_runtime_reconcile_panics_total{controller=c}')).toBe(3);
    stop.abort();
    await running;
  });

  it('works on as many keys at once as it may, and on each only once', async () => {
    let most = 0;
    const now = new Set<string>();
    const { clock, controller, start, stop } = make({
      concurrency: 3,
      reconcile: async (key) => {
        expect(now.has(key)).toBe(false);
        now.add(key);
        most = Math.max(most, now.size);
        await new Promise<void>((resolve) => clock.after(10, resolve));
        now.delete(key);
      },
    });
    const running = start();
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 10; i++) controller.enqueue(`key-${i}`);
      await clock.advance(7);
    }
    await clock.advance(1000);
    expect(most).toBe(3);
    stop.abort();
    await running;
  });

  it('lets work under way end when stopped, and aborts it after the grace', async () => {
    let aborted = Number.NaN;
    const { clock, controller, start, stop } = make({
      graceMs: 1000,
      reconcile: (_key, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = clock.now();
            reject(signal.reason);
          });
        }),
    });
    const running = start();
    controller.enqueue('a');
    await clock.advance(10);
    stop.abort();
    await clock.advance(2000);
    await running;
    expect(aborted).toBe(1010);
  });

  it.each([
    ['instead of', 0, 10],
    ['in', 400, 410],
  ])('aborts work under way at once when it must end now, %s its grace', async (_, afterMs, expected) => {
    let aborted = Number.NaN;
    const { clock, controller, stop } = make({
      reconcile: (_key, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted = clock.now();
            reject(signal.reason);
          });
        }),
    });
    const now = new AbortController();
    const running = controller.run(stop.signal, now.signal);
    controller.enqueue('a');
    await clock.advance(10);
    if (afterMs > 0) stop.abort();
    await clock.advance(afterMs);
    now.abort(new Error('the lease is lost'));
    await clock.advance(0);
    expect(aborted).toBe(expected);
    await running;
    expect(clock.pending()).toBe(0);
  });

  it('does not wait for ever for work that does not listen', async () => {
    const { clock, controller, start, stop, lines } = make({ graceMs: 1000, reconcile: () => new Promise(() => {}) });
    const running = start();
    controller.enqueue('a');
    await clock.advance(10);
    stop.abort();
    await clock.advance(6000);
    await running;
    expect(lines.at(-1)).toMatchObject({ level: 'error', message: 'controller stopped', fields: { unfinished: 1 } });
  });

  it('ends a reconciliation at its deadline, and tries again', async () => {
    let calls = 0;
    const { clock, controller, start, stop, value } = make({
      timeoutMs: 500,
      reconcile: (_key, { signal }) =>
        new Promise((resolve, reject) => {
          if (++calls > 1) return resolve(undefined);
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
    });
    const running = start();
    controller.enqueue('a');
    await clock.advance(1000);
    expect(calls).toBe(2);
    expect(value('controller_runtime_reconcile_timeouts_total{controller=c}')).toBe(1);
    stop.abort();
    await running;
  });

  it('starts when its sources are there, asks old and new object for keys, and does not hang on a source that never comes', async () => {
    type Owned = { metadata: { name: string }; owner: string };
    const handlers: Handler<Owned>[] = [];
    const { promise: synced, resolve: sync } = Promise.withResolvers<void>();
    const informer = {
      name: 'owned',
      synced,
      addHandler: (handler: Handler<Owned>) => {
        handlers.push(handler);
        return () => handlers.splice(handlers.indexOf(handler), 1);
      },
    };
    const seen: string[] = [];
    const owned = source<Owned, never>(informer, { keysOf: ({ owner }) => [owner], changed: (a, b) => a !== b });
    const { clock, start, stop } = make({ sources: [owned], reconcile: async (key) => void seen.push(key) });
    const running = start();
    const object = (owner: string): Owned => ({ metadata: { name: 'x' }, owner });
    handlers[0]?.add?.(object('one'));
    await clock.advance(10);
    expect(seen).toEqual([]);
    sync();
    await clock.advance(10);
    handlers[0]?.update?.(object('three'), object('two'));
    await clock.advance(10);
    expect(seen).toEqual(['one', 'two', 'three']);
    stop.abort();
    await running;
    expect(handlers).toEqual([]);

    const never = { ...owned, synced: new Promise<void>(() => {}) };
    const other = make({ sources: [never], reconcile: async () => {} });
    const waiting = other.start();
    other.stop.abort();
    await waiting;
  });

  it('does not hear of what is settled, but of its end, and of who lost it', async () => {
    type Owned = { metadata: { name: string }; owner: string; settled: boolean };
    const handlers: Handler<Owned>[] = [];
    const addHandler = (handler: Handler<Owned>) => {
      handlers.push(handler);
      return () => {};
    };
    const seen: string[] = [];
    const informer = { name: 'owned', synced: Promise.resolve(), addHandler };
    const owned = source<Owned, never>(informer, { keysOf: ({ owner }) => [owner], settled: ({ settled }) => settled });
    const { clock, start, stop } = make({ sources: [owned], reconcile: async (key) => void seen.push(key) });
    const running = start();
    await clock.advance(10);
    const object = (owner: string, settled: boolean): Owned => ({ metadata: { name: 'x' }, owner, settled });
    handlers[0]?.add?.(object('one', true));
    handlers[0]?.update?.(object('one', true), object('one', false));
    await clock.advance(10);
    expect(seen).toEqual([]);
    handlers[0]?.update?.(object('one', true), object('two', true));
    handlers[0]?.add?.(object('three', false));
    handlers[0]?.delete?.(object('four', true));
    await clock.advance(10);
    expect(seen).toEqual(['two', 'three', 'four']);
    stop.abort();
    await running;
  });
});
