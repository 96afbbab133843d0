import { ApiError, isGone, reasonOf, unintelligible } from './api-error.ts';
import { createBackoff, REFLECTOR_BACKOFF } from './backoff.ts';
import type { KubeClient } from './client.ts';
import { type Clock, sleep, systemClock } from './clock.ts';
import { describe, type Log, silent } from './log.ts';
import { type Meter, unmetered } from './meter.ts';
import type { KubeObject } from './object.ts';
import type { Resource } from './resource.ts';
import { type WatchEvent, WatchSilent, watch } from './watch.ts';

export type ReflectorOptions<T extends KubeObject> = {
  readonly client: KubeClient;
  readonly resource: Resource;
  /** All namespaces when absent. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly sink: ReflectorSink<T>;
  /** What is handed on of an object. A list is trimmed page by page, so that it is never all there as it came. Must not throw. */
  readonly transform?: (object: T) => T;
  /** Objects per page of a list. Default 100; client-go's pager takes 500, but here a page is text, and objects, in the memory at once. */
  readonly pageSize?: number;
  /** Longest time for one page of a list, retries included, in milliseconds. Default 30,000. */
  readonly listTimeoutMs?: number;
  /** Shortest length of a watch in seconds; the longest is twice that. Default 300, as client-go's. */
  readonly watchSeconds?: number;
  /**
   * Longest silence of a watch in milliseconds, then it is opened anew. Default 90,000, more than the minute between bookmarks: a
   * dead connection is noticed within it, and on a resource in which nothing changes it costs one request.
   */
  readonly silenceMs?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly log?: Log;
  readonly meter?: Meter;
  readonly signal: AbortSignal;
};

/** Who is told what is there. Calls come one after the other, in the order of the server. */
export type ReflectorSink<T> = {
  /** Everything there is. What was there before and is not in it is gone. */
  readonly replace: (objects: readonly T[]) => void;
  readonly apply: (type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T) => void;
};

/** A watch that went on for so long was healthy: what ends it is a new trouble and not the old one. */
const HEALTHY_WATCH_MS = 10_000;
/** After a restart the server knows no resourceVersion from before: one 410 is no trouble, a second one soon after is. */
const GONE_AGAIN_MS = 30_000;
const GONE_SPREAD_MS = 1000;
/** A watch that ends sooner than this and brought nothing is a server in trouble, though it ended in order (client-go). */
const SHORT_WATCH_MS = 1000;

/**
 * Keeps a sink equal to a collection of the API server until `signal` is aborted; it resolves then and never rejects. The rules
 * are client-go's (tools/cache/reflector.go): paged list, then watches from its resourceVersion with bookmarks; a watch that
 * ends, fails or falls silent is followed by another from the last resourceVersion seen; 410 Gone, another refusal, or a line that
 * cannot be understood, by a new list. Every failure waits: 0.8 s doubling to 10 s, with as much jitter, or as long as the server
 * says, up to a minute.
 */
export const reflect = async <T extends KubeObject>(options: ReflectorOptions<T>): Promise<void> => {
  const { client, resource, sink, signal, pageSize = 100, watchSeconds = 300, silenceMs = 90_000 } = options;
  const { listTimeoutMs = 30_000 } = options;
  const { clock = systemClock, random = Math.random, log = silent, meter = unmetered } = options;
  const { transform = (object: T) => object } = options;
  const labels = { resource: resource.plural };
  const selection = {
    namespace: options.namespace,
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
  };
  const backoff = createBackoff({ ...REFLECTOR_BACKOFF, random });
  /** Undefined: only a list tells. */
  let resourceVersion: string | undefined;
  let lastGone = Number.NEGATIVE_INFINITY;

  const list = async (): Promise<void> => {
    meter.count('kube_reflector_lists_total', labels);
    const paged = { ...selection, limit: pageSize, timeoutMs: listTimeoutMs, signal };
    const found = await listAll<T>(client, resource, paged, transform);
    if (!found.resourceVersion)
      throw unintelligible(`expected a resourceVersion with the list of ${resource.plural}; got none`);
    sink.replace(found.items);
    resourceVersion = found.resourceVersion;
  };

  const follow = async (from: string): Promise<void> => {
    meter.count('kube_reflector_watches_total', labels);
    const started = clock.now();
    let events = 0;
    const timeoutSeconds = Math.floor(watchSeconds * (1 + random()));
    const request = { resource, ...selection, resourceVersion: from, timeoutSeconds, silenceMs, signal };
    try {
      for await (const event of watch<T>(client, clock, request)) {
        events++;
        deliver(sink, event, transform);
        resourceVersion = event.object.metadata.resourceVersion;
      }
    } finally {
      if (clock.now() - started >= HEALTHY_WATCH_MS) backoff.reset();
    }
    if (events === 0 && clock.now() - started < SHORT_WATCH_MS)
      throw new Error(`expected a watch of ${resource.plural} of about ${timeoutSeconds} s; it ended at once`);
  };

  const waitAfter = (error: unknown): number => {
    const now = clock.now();
    const first = isGone(error) && now - lastGone > GONE_AGAIN_MS;
    if (isGone(error)) lastGone = now;
    return first ? GONE_SPREAD_MS * random() : backoff.next(now);
  };

  while (!signal.aborted) {
    try {
      if (resourceVersion === undefined) await list();
      else await follow(resourceVersion);
    } catch (error) {
      if (signal.aborted) break;
      // Silence is no failure, as a rule: a resource in which nothing happens has no bookmarks either.
      if (error instanceof WatchSilent) {
        log('debug', `watching ${resource.plural} anew`, { reason: 'Silent', error: describe(error) });
        continue;
      }
      const reason = reasonOf(error);
      // What the server refuses, or says in words we do not know (code 0), may hide a gap: begin anew. The rest goes on where it was.
      if (error instanceof ApiError && error.code !== 429 && error.code < 500) resourceVersion = undefined;
      const wait = Math.max(waitAfter(error), (error instanceof ApiError && error.retryAfterMs) || 0);
      meter.count('kube_reflector_errors_total', { ...labels, reason });
      log(reason === 'Gone' ? 'info' : 'warn', sentence(resource, reason), {
        reason,
        error: describe(error),
        retryMs: Math.round(wait),
      });
      await sleep(clock, wait, signal);
    }
  }
};

const deliver = <T extends KubeObject>(
  sink: ReflectorSink<T>,
  { type, object }: WatchEvent<T>,
  transform: (object: T) => T,
): void => {
  if (type !== 'BOOKMARK') sink.apply(type, transform(object));
};

type Listing = { namespace?: string | undefined; limit: number; timeoutMs: number; signal: AbortSignal };

/** Page by page. A continue token that is too old (410) is answered by one list without pages, as client-go's pager does. */
const listAll = async <T extends KubeObject>(
  client: KubeClient,
  resource: Resource,
  options: Listing,
  transform: (object: T) => T,
) => {
  const items: T[] = [];
  let next: string | undefined;
  for (;;) {
    try {
      const page = await client.list<T>(resource, { ...options, ...(next ? { continue: next } : {}) });
      for (const item of page.items) items.push(transform(item));
      next = page.metadata.continue || undefined;
      if (next === undefined) return { items, resourceVersion: page.metadata.resourceVersion };
    } catch (error) {
      if (!isGone(error) || next === undefined) throw error;
      const { limit: _, ...whole } = options;
      const all = await client.list<T>(resource, whole);
      return { items: all.items.map(transform), resourceVersion: all.metadata.resourceVersion };
    }
  }
};

const sentence = (resource: Resource, reason: string): string => {
  const what = `${resource.plural} of ${resource.apiVersion}`;
  if (reason === 'Gone') return `listing ${what} again: the server no longer knows where we were`;
  if (reason === 'Forbidden') return `may not list or watch ${what}: waiting for the permission`;
  if (reason === 'NotFound') return `the server does not know ${what}: waiting for its definition`;
  return `lost sight of ${what}: trying again`;
};
