import { ApiError } from './api-error.ts';
import { type Clock, systemClock } from './clock.ts';
import type { Informer } from './informer.ts';
import { describe, type Log, silent, withFields } from './log.ts';
import { type Meter, unmetered } from './meter.ts';
import { createWorkQueue, type WorkQueueOptions } from './work-queue.ts';

/** Whose changes wake the reconciler up. Made by `source`, which keeps the type of the objects inside. */
export type Source = {
  readonly name: string;
  readonly synced: Promise<void>;
  /** Returns its end. */
  readonly start: (enqueue: (key: string) => void, log: Log) => () => void;
};

export type SourceOptions<T> = {
  /** The keys to reconcile for an object, say that of its owner. */
  readonly keysOf: (object: T) => readonly string[];
  /** Which updates matter; adds and deletes always do. Default: all. */
  readonly changed?: (object: T, old: T) => boolean;
  /** Of an added or updated object: whether it is as its reconciler wants it, say because that just wrote it. Default: never. */
  readonly settled?: (object: T) => boolean;
};

/**
 * An informer's changes as keys. An update asks both the old and the new object, as controller-runtime's EnqueueRequestForOwner:
 * whoever lost an object must hear of it.
 */
export const source = <T, Index extends string>(
  informer: Pick<Informer<T & { metadata: object }, Index>, 'name' | 'synced' | 'addHandler'>,
  { keysOf, changed = () => true, settled = () => false }: SourceOptions<T>,
): Source => ({
  name: informer.name,
  synced: informer.synced,
  start: (enqueue) => {
    const all = (object: T) => {
      for (const key of keysOf(object)) enqueue(key);
    };
    return informer.addHandler({
      add: (object) => {
        if (!settled(object)) all(object);
      },
      update: (object, old) => {
        if (!changed(object, old)) return;
        const known = settled(object) ? keysOf(object) : [];
        for (const key of [...keysOf(old), ...keysOf(object)]) if (!known.includes(key)) enqueue(key);
      },
      delete: all,
    });
  },
});

export type ReconcileContext = {
  /** Aborted at the deadline of this reconciliation, or when the process must end: hand it on to every request. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** How often in a row this key has failed before. */
  readonly failures: number;
};

/** Undefined: nothing to do until something changes. */
export type ReconcileResult = { readonly requeueAfterMs?: number | undefined } | undefined;

/** Level-triggered: looks at what is, whatever woke it up, and may be called at any time. Never twice at once for one key. */
// biome-ignore lint/suspicious/noConfusingVoidType: a reconciler that has nothing to say need not say so
export type Reconcile = (key: string, context: ReconcileContext) => Promise<ReconcileResult | void>;

/** Thrown by a reconciler when trying again is in vain until something changes. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

export type ControllerOptions = {
  readonly name: string;
  readonly sources: readonly Source[];
  readonly reconcile: Reconcile;
  /** Keys worked on at the same time. Default 1. */
  readonly concurrency?: number;
  /** Longest time for one reconciliation. Default 120,000. */
  readonly timeoutMs?: number;
  /** How long reconciliations under way may go on when stopped, before their signal is aborted. Default 30,000. */
  readonly graceMs?: number;
  readonly queue?: Pick<WorkQueueOptions, 'baseDelayMs' | 'maxDelayMs' | 'retriesPerSecond' | 'retryBurst'>;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly meter?: Meter;
};

export type Controller = {
  readonly enqueue: (key: string, afterMs?: number) => void;
  /**
   * Waits for the sources, works until the signal is aborted, and resolves when the last reconciliation has ended, for which it
   * waits `graceMs`; once `now` is aborted, say because the lease is lost, reconciliations under way are aborted without any grace.
   * Never rejects. To be called once; the informers are run by whoever made them.
   */
  readonly run: (signal: AbortSignal, now?: AbortSignal) => Promise<void>;
  /** Sets the gauges of work under way (`workqueue_unfinished_work_seconds` and so on): to be called before each scrape. */
  readonly measure: () => void;
};

/** How long a reconciliation may take to notice that its signal was aborted before nobody waits for it any more. */
const DEAF_MS = 5_000;

/**
 * What a reconciler throws by mistake and never on purpose: what the language throws where Go would panic, and what is no Error.
 * Like a panic that controller-runtime recovers from, it is an error too and tried again.
 */
const isPanic = (error: unknown): boolean =>
  !(error instanceof Error) ||
  error instanceof TypeError ||
  error instanceof RangeError ||
  error instanceof ReferenceError;

/** Sources to queue to reconciler: controller-runtime's pkg/internal/controller. */
export const createController = (options: ControllerOptions): Controller => {
  const { name, sources, reconcile, concurrency = 1, timeoutMs = 120_000, graceMs = 30_000 } = options;
  const { clock = systemClock, meter = unmetered } = options;
  const log = withFields(options.log ?? silent, { controller: name });
  const queue = createWorkQueue({ ...options.queue, name, clock, meter });
  const labels = { controller: name };
  const hard = new AbortController();
  let active = 0;

  for (const result of ['success', 'error', 'requeue', 'requeue_after'])
    meter.count('controller_runtime_reconcile_total', { ...labels, result }, 0);
  meter.count('controller_runtime_reconcile_panics_total', labels, 0);
  meter.set('controller_runtime_max_concurrent_reconciles', labels, concurrency);

  const failed = (key: string, error: unknown) => {
    meter.count('controller_runtime_reconcile_total', { ...labels, result: 'error' });
    meter.count('controller_runtime_reconcile_errors_total', labels);
    if (isPanic(error)) meter.count('controller_runtime_reconcile_panics_total', labels);
    if (error instanceof TerminalError) {
      meter.count('controller_runtime_terminal_reconcile_errors_total', labels);
      queue.forget(key);
      log('error', 'reconcile failed and is not tried again until something changes', { key, error: describe(error) });
      return;
    }
    const asked = error instanceof ApiError ? error.retryAfterMs : undefined;
    const retryMs = Math.round(queue.addRateLimited(key, asked));
    log('warn', 'reconcile failed', { key, error: describe(error), failures: queue.failures(key), retryMs });
  };

  const work = async (key: string) => {
    const deadline = new AbortController();
    const pass = () => deadline.abort(hard.signal.reason);
    hard.signal.addEventListener('abort', pass, { once: true });
    if (hard.signal.aborted) pass();
    const cancel = clock.after(timeoutMs, () => {
      meter.count('controller_runtime_reconcile_timeouts_total', labels);
      deadline.abort(new DOMException(`expected a reconciliation within ${timeoutMs} ms`, 'TimeoutError'));
    });
    const started = clock.now();
    meter.set('controller_runtime_active_workers', labels, ++active);
    try {
      const context = { signal: deadline.signal, log: withFields(log, { key }), failures: queue.failures(key) };
      const { requeueAfterMs } = (await reconcile(key, context)) ?? {};
      queue.forget(key);
      if (requeueAfterMs !== undefined) queue.addAfter(key, requeueAfterMs);
      const result = requeueAfterMs === undefined ? 'success' : 'requeue_after';
      meter.count('controller_runtime_reconcile_total', { ...labels, result });
    } catch (error) {
      failed(key, error);
    } finally {
      cancel();
      hard.signal.removeEventListener('abort', pass);
      meter.observe('controller_runtime_reconcile_time_seconds', labels, (clock.now() - started) / 1000);
      meter.set('controller_runtime_active_workers', labels, --active);
      queue.done(key);
    }
  };

  const worker = async () => {
    for (let key = await queue.get(); key !== undefined; key = await queue.get()) await work(key);
  };

  return {
    enqueue: (key, afterMs = 0) => queue.addAfter(key, afterMs),
    measure: queue.measure,
    run: async (stop, now) => {
      const signal = now === undefined ? stop : AbortSignal.any([stop, now]);
      const abortNow = () => hard.abort(now?.reason);
      if (now?.aborted) abortNow();
      now?.addEventListener('abort', abortNow, { once: true });
      const stopped = new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      const ends = sources.map((one) => one.start(queue.add, log));
      const synced = Promise.all(sources.map((one) => one.synced)).then(() => true);
      let workers: Promise<unknown> = Promise.resolve();
      if (await Promise.race([synced, stopped.then(() => false)])) {
        log('info', 'controller started', { sources: sources.map((one) => one.name), concurrency });
        workers = Promise.all(Array.from({ length: concurrency }, worker));
        await stopped;
      }
      for (const end of ends) end();
      queue.shutDown();
      const cancel = clock.after(graceMs, () => hard.abort(signal.reason));
      const { promise: givenUp, resolve: giveUp } = Promise.withResolvers<void>();
      let cancelGivingUp = () => {};
      const waitForTheDeaf = () => {
        cancelGivingUp = clock.after(DEAF_MS, giveUp);
      };
      if (hard.signal.aborted) waitForTheDeaf();
      else hard.signal.addEventListener('abort', waitForTheDeaf, { once: true });
      await Promise.race([workers, givenUp]);
      cancel();
      cancelGivingUp();
      now?.removeEventListener('abort', abortNow);
      log(active === 0 ? 'info' : 'error', 'controller stopped', { unfinished: active });
    },
  };
};
