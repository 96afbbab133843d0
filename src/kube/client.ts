import type { Dispatcher } from 'undici';
import { header, parseAnswer, unanswered } from './answer.ts';
import { type ApiError, apiErrorFrom } from './api-error.ts';
import { type Clock, sleep, systemClock } from './clock.ts';
import type { Connection, HttpRequest } from './connection.ts';
import { type Meter, unmetered } from './meter.ts';
import type { KubeObject } from './object.ts';
import { type Place, pathOf, type Resource } from './resource.ts';

export type KubeList<T> = {
  readonly metadata: {
    readonly resourceVersion?: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
  readonly items: readonly T[];
};

export type CallOptions = {
  readonly signal?: AbortSignal | undefined;
  /** For the whole call with its retries. Default 30,000. */
  readonly timeoutMs?: number;
};

export type ListOptions = {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
};

export type WriteOptions = CallOptions & {
  readonly subresource?: 'status' | 'scale' | undefined;
  readonly dryRun?: boolean | undefined;
  readonly fieldManager?: string | undefined;
};

export type ApplyOptions = WriteOptions & {
  readonly fieldManager: string;
  /** Takes fields from other managers instead of answering 409 Conflict. */
  readonly force?: boolean;
  /**
   * Only where there is no such object yet; otherwise 409 Conflict, and nothing is written. Unlike a look before the write, nobody can
   * come between.
   */
  readonly createOnly?: boolean;
};

export type PatchType = 'json' | 'merge' | 'strategic';

export type DeleteOptions = CallOptions & {
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
  readonly gracePeriodSeconds?: number;
  /** Deletes only this very object, or only this version of it. Otherwise 409 Conflict. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
};

/**
 * Typed calls on plain JSON. They resolve with what the server answered, and reject with ApiError when that was a refusal, with
 * the signal's reason when aborted, or with what the network said.
 */
export type KubeClient = {
  readonly get: <T extends KubeObject>(resource: Resource, place: Place, options?: CallOptions) => Promise<T>;
  readonly list: <T extends KubeObject>(
    resource: Resource,
    options?: ListOptions & CallOptions,
  ) => Promise<KubeList<T>>;
  readonly create: <T extends KubeObject>(resource: Resource, object: T, options?: WriteOptions) => Promise<T>;
  /** Replaces; with metadata.resourceVersion only that version (409 Conflict otherwise). */
  readonly update: <T extends KubeObject>(resource: Resource, object: T, options?: WriteOptions) => Promise<T>;
  /**
   * Server-side apply: creates or merges, and owns exactly the fields given. With subresource `status`: the status alone. It is what
   * client-go's dynamic/simple.go `Apply` and `ApplyStatus` send; the API server's rules are structured-merge-diff's.
   */
  readonly apply: <T extends KubeObject>(resource: Resource, object: T, options: ApplyOptions) => Promise<T>;
  readonly patch: <T extends KubeObject>(
    resource: Resource,
    place: Place,
    patch: { readonly type: PatchType; readonly body: unknown },
    options?: WriteOptions,
  ) => Promise<T>;
  readonly delete: (resource: Resource, place: Place, options?: DeleteOptions) => Promise<void>;
  /** The open answer of a request that goes on (a watch). The caller reads or destroys the body. */
  readonly open: (request: {
    readonly path: string;
    readonly query: Query;
    readonly signal: AbortSignal;
  }) => Promise<Dispatcher.ResponseData>;
  /** Any other path, JSON in and out. */
  readonly raw: (
    method: HttpRequest['method'],
    path: string,
    body?: unknown,
    options?: CallOptions,
  ) => Promise<unknown>;
  readonly namespace: string | undefined;
};

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export type ClientOptions = {
  readonly connection: Connection;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly meter?: Meter;
};

const CONTENT_TYPES: Record<PatchType | 'apply', string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  // The body is JSON, which is YAML; servers before 1.32 know only this name.
  apply: 'application/apply-patch+yaml',
};

/** The revision of an empty etcd: no object ever has it, and an object that is just being made is not asked for its version. */
const NO_VERSION = '1';
const DEFAULT_TIMEOUT_MS = 30_000;
/** The server begins a watch at once; a kept-alive connection that is dead must not hold it up for long. */
const OPEN_TIMEOUT_MS = 10_000;
/** client-go rest/with_retry.go retries ten times, and only what carries Retry-After; reading again never harms, so we add that. */
const MOST_RETRIES = 10;
const MOST_READ_RETRIES = 3;
const READ_RETRY_MS = 100;

/**
 * The calls of controller-runtime's pkg/client/client.go and client-go's dynamic/simple.go on one connection. Repeated after
 * Retry-After as client-go's rest/with_retry.go `IsNextRetry` (429 and 5xx that carry it, ten times, writes too, since the server
 * did nothing; but each wait a minute at most, and all within the call's own timeout); reads also after any 5xx and a broken
 * connection, three times from 100 ms: this is ours. Refusals are apimachinery api/errors' words. Metrics: tools/metrics.
 */
export const createClient = ({
  connection,
  clock = systemClock,
  random = Math.random,
  meter = unmetered,
}: ClientOptions): KubeClient => {
  type Call = { method: HttpRequest['method']; path: string; query?: Query; body?: unknown; contentType?: string };

  const measured = async (request: HttpRequest): Promise<Dispatcher.ResponseData> => {
    const { method } = request;
    const { host } = connection;
    const started = clock.now();
    try {
      const answer = await connection.send(request);
      meter.count('rest_client_requests_total', { code: String(answer.statusCode), method, host });
      return answer;
    } catch (error) {
      meter.count('rest_client_requests_total', { code: '<error>', method, host });
      throw unanswered(request, host, error);
    } finally {
      meter.observe('rest_client_request_duration_seconds', { verb: method, host }, (clock.now() - started) / 1000);
    }
  };

  const attempt = async (call: Call, signal: AbortSignal, timeoutMs: number): Promise<unknown> => {
    const { method, path, query, body, contentType = 'application/json' } = call;
    const answer = await measured({
      method,
      path: path + queryString(query),
      headers: body === undefined ? {} : { 'Content-Type': contentType },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      headersTimeoutMs: timeoutMs,
    });
    const text = await answer.body.text();
    const what = `${method} ${path}`;
    if (answer.statusCode >= 200 && answer.statusCode < 300)
      return text === '' ? undefined : parseAnswer(what, text, header(answer, 'content-type'));
    throw apiErrorFrom(what, answer.statusCode, text, header(answer, 'retry-after'));
  };

  const request = async (call: Call, { signal, timeoutMs = DEFAULT_TIMEOUT_MS }: CallOptions = {}) => {
    const deadline = withDeadline(clock, timeoutMs, `${call.method} ${call.path}`, signal);
    try {
      for (let retries = 0; ; retries++) {
        try {
          return await attempt(call, deadline.signal, timeoutMs);
        } catch (error) {
          deadline.signal.throwIfAborted();
          const wait = retryWait(error, call.method, retries);
          if (wait === undefined) throw error;
          await sleep(clock, wait * (1 + 0.25 * random()), deadline.signal);
          deadline.signal.throwIfAborted();
        }
      }
    } finally {
      deadline.clear();
    }
  };

  const writeQuery = ({ dryRun, fieldManager }: WriteOptions): Query => ({
    dryRun: dryRun ? 'All' : undefined,
    fieldManager,
  });
  const placeOf = (object: KubeObject, subresource?: string): Place => ({
    name: object.metadata.name ?? '',
    namespace: object.metadata.namespace,
    subresource,
  });
  const typed = <T extends KubeObject>(resource: Resource, object: T): T => ({
    ...object,
    apiVersion: resource.apiVersion,
    kind: resource.kind,
  });

  return {
    namespace: connection.namespace,
    get: async <T extends KubeObject>(resource: Resource, place: Place, options?: CallOptions) =>
      (await request({ method: 'GET', path: pathOf(resource, place) }, options)) as T,
    list: async <T extends KubeObject>(resource: Resource, options: ListOptions & CallOptions = {}) => {
      const { namespace, signal, timeoutMs, ...query } = options;
      const path = pathOf(resource, { namespace });
      return (await request({ method: 'GET', path, query }, calling(signal, timeoutMs))) as KubeList<T>;
    },
    create: async <T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}) => {
      const { namespace } = object.metadata;
      if (resource.namespaced && !namespace)
        throw new TypeError(`expected a namespace for a new ${resource.kind}; got none`);
      const path = pathOf(resource, { namespace });
      const call = { method: 'POST', path, query: writeQuery(options), body: typed(resource, object) } as const;
      return (await request(call, options)) as T;
    },
    update: async <T extends KubeObject>(resource: Resource, object: T, options: WriteOptions = {}) => {
      const path = pathOf(resource, placeOf(object, options.subresource));
      const call = { method: 'PUT', path, query: writeQuery(options), body: typed(resource, object) } as const;
      return (await request(call, options)) as T;
    },
    apply: async <T extends KubeObject>(resource: Resource, object: T, options: ApplyOptions) => {
      const path = pathOf(resource, placeOf(object, options.subresource));
      const query = { ...writeQuery(options), force: options.force ? true : undefined };
      const metadata = options.createOnly ? { ...object.metadata, resourceVersion: NO_VERSION } : object.metadata;
      const body = typed(resource, { ...object, metadata });
      const call = { method: 'PATCH', path, query, body, contentType: CONTENT_TYPES.apply } as const;
      return (await request(call, options)) as T;
    },
    patch: async <T extends KubeObject>(
      resource: Resource,
      place: Place,
      patch: { readonly type: PatchType; readonly body: unknown },
      options: WriteOptions = {},
    ) => {
      const path = pathOf(resource, { ...place, subresource: options.subresource ?? place.subresource });
      const contentType = CONTENT_TYPES[patch.type];
      const call = { method: 'PATCH', path, query: writeQuery(options), body: patch.body, contentType } as const;
      return (await request(call, options)) as T;
    },
    delete: async (resource, place, options = {}) => {
      const { propagationPolicy, gracePeriodSeconds, preconditions } = options;
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy, gracePeriodSeconds, preconditions };
      await request({ method: 'DELETE', path: pathOf(resource, place), body }, options);
    },
    open: ({ path, query, signal }) =>
      measured({ method: 'GET', path: path + queryString(query), signal, headersTimeoutMs: OPEN_TIMEOUT_MS }),
    raw: (method, path, body, options) => request({ method, path, body }, options),
  };
};

const calling = (signal: AbortSignal | undefined, timeoutMs: number | undefined): CallOptions => ({
  signal,
  ...(timeoutMs === undefined ? {} : { timeoutMs }),
});

/** Milliseconds to wait before the same call again; undefined when it must not be repeated. */
const retryWait = (error: unknown, method: string, retries: number): number | undefined => {
  const refusal = error instanceof Error && error.name === 'ApiError' ? (error as ApiError) : undefined;
  const overloaded = refusal === undefined || refusal.code === 429 || refusal.code >= 500;
  if (!overloaded) return undefined;
  if (refusal?.retryAfterMs !== undefined) return retries < MOST_RETRIES ? refusal.retryAfterMs : undefined;
  // A write may have been done although its answer was lost: only its caller knows whether it may be repeated.
  return method === 'GET' && retries < MOST_READ_RETRIES ? READ_RETRY_MS * 2 ** retries : undefined;
};

/** A signal that is also aborted after `ms`; its reason says what took too long. */
const withDeadline = (clock: Clock, ms: number, what: string, outer: AbortSignal | undefined) => {
  const controller = new AbortController();
  const pass = () => controller.abort(outer?.reason);
  if (outer?.aborted) pass();
  outer?.addEventListener('abort', pass, { once: true });
  const cancel = clock.after(ms, () =>
    controller.abort(new DOMException(`${what}: expected an answer within ${ms} ms`, 'TimeoutError')),
  );
  return {
    signal: controller.signal,
    clear: () => {
      cancel();
      outer?.removeEventListener('abort', pass);
    },
  };
};

const queryString = (query: Query = {}): string => {
  const pairs = Object.entries(query).flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, String(value)]],
  );
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`;
};
