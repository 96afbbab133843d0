import { type Clock, systemClock } from './clock.ts';
import { type Meter, unmetered } from './meter.ts';
import { createTokenBucket } from './token-bucket.ts';

export type WorkQueueOptions = {
  /** The label of the metrics. */
  readonly name: string;
  /** First wait after a failure, doubled by each further one. Default 5. */
  readonly baseDelayMs?: number;
  /** Default 300,000; client-go's 1,000,000 would leave a tunnel alone for a quarter of an hour after an outage. */
  readonly maxDelayMs?: number;
  /** Of all keys together: retries per second, and how many at once. Default 10 and 100, as client-go. */
  readonly retriesPerSecond?: number;
  readonly retryBurst?: number;
  readonly clock?: Clock;
  readonly meter?: Meter;
};

/**
 * Keys that want work. The rules are client-go's (util/workqueue queue.go, delaying_queue.go, default_rate_limiters.go):
 * a key waits once, however often it is added; while a worker has it, it is given to no other, and if it was added meanwhile it
 * waits again when done; of two delayed adds the earlier counts.
 */
export type WorkQueue = {
  readonly add: (key: string) => void;
  readonly addAfter: (key: string, ms: number) => void;
  /** Adds after the key's own backoff, and not before `atLeastMs`. Returns the wait in milliseconds. */
  readonly addRateLimited: (key: string, atLeastMs?: number) => number;
  /** The key's next failure is its first. */
  readonly forget: (key: string) => void;
  readonly failures: (key: string) => number;
  /** The next key, for which `done` must be called; undefined when the queue is shut down and empty. */
  readonly get: () => Promise<string | undefined>;
  readonly done: (key: string) => void;
  /** Nothing is added any more, delayed keys are dropped, and so are waiting ones: their objects will be listed again. */
  readonly shutDown: () => void;
  /** Keys waiting, not counting those a worker has. */
  readonly depth: () => number;
  /** Sets the gauges of unfinished work; call it now and then, or before a scrape. */
  readonly measure: () => void;
};

export const createWorkQueue = (options: WorkQueueOptions): WorkQueue => {
  const { name, baseDelayMs = 5, maxDelayMs = 300_000, clock = systemClock, meter = unmetered } = options;
  const { retriesPerSecond = 10, retryBurst = 100 } = options;
  const labels = { name, controller: name };
  const bucket = createTokenBucket({ perSecond: retriesPerSecond, burst: retryBurst, now: clock.now() });
  /** Key to the time it was added; a Map is also the queue, since it keeps the order of insertion. */
  const waiting = new Map<string, number>();
  const processing = new Map<string, number>();
  const again = new Map<string, number>();
  const delayed = new Map<string, { readonly at: number; readonly cancel: () => void }>();
  const failures = new Map<string, number>();
  const takers: ((key: string | undefined) => void)[] = [];
  let closed = false;

  const depth = () => meter.set('workqueue_depth', labels, waiting.size);

  const take = (): string | undefined => {
    const first = waiting.entries().next();
    if (first.done) return undefined;
    const [key, since] = first.value;
    waiting.delete(key);
    const now = clock.now();
    processing.set(key, now);
    meter.observe('workqueue_queue_duration_seconds', labels, (now - since) / 1000);
    depth();
    return key;
  };

  const add = (key: string) => {
    if (closed || waiting.has(key) || again.has(key)) return;
    meter.count('workqueue_adds_total', labels);
    if (processing.has(key)) {
      again.set(key, clock.now());
      return;
    }
    waiting.set(key, clock.now());
    depth();
    const taker = takers.shift();
    if (taker) taker(take());
  };

  const addAfter = (key: string, ms: number) => {
    if (closed) return;
    if (ms <= 0) return add(key);
    const at = clock.now() + ms;
    const known = delayed.get(key);
    if (known !== undefined && known.at <= at) return;
    known?.cancel();
    const cancel = clock.after(ms, () => {
      delayed.delete(key);
      add(key);
    });
    delayed.set(key, { at, cancel });
  };

  return {
    add,
    addAfter,
    addRateLimited: (key, atLeastMs = 0) => {
      const before = failures.get(key) ?? 0;
      failures.set(key, before + 1);
      const own = Math.min(maxDelayMs, baseDelayMs * 2 ** Math.min(before, 50));
      const wait = Math.max(own, atLeastMs, bucket.reserve(clock.now()));
      meter.count('workqueue_retries_total', labels);
      addAfter(key, wait);
      return wait;
    },
    forget: (key) => {
      failures.delete(key);
    },
    failures: (key) => failures.get(key) ?? 0,
    get: () => {
      const key = take();
      if (key !== undefined || closed) return Promise.resolve(key);
      return new Promise((resolve) => takers.push(resolve));
    },
    done: (key) => {
      const since = processing.get(key);
      if (since === undefined) return;
      processing.delete(key);
      meter.observe('workqueue_work_duration_seconds', labels, (clock.now() - since) / 1000);
      const added = again.get(key);
      if (added === undefined) return;
      again.delete(key);
      waiting.set(key, added);
      depth();
      const taker = takers.shift();
      if (taker) taker(take());
    },
    shutDown: () => {
      closed = true;
      for (const { cancel } of delayed.values()) cancel();
      delayed.clear();
      waiting.clear();
      again.clear();
      depth();
      for (const taker of takers.splice(0)) taker(undefined);
    },
    depth: () => waiting.size,
    measure: () => {
      const ages = [...processing.values()].map((since) => (clock.now() - since) / 1000);
      meter.set(
        'workqueue_unfinished_work_seconds',
        labels,
        ages.reduce((sum, age) => sum + age, 0),
      );
      meter.set('workqueue_longest_running_processor_seconds', labels, Math.max(0, ...ages));
    },
  };
};
