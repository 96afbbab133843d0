import { apiErrorFrom, apiErrorFromStatus, type Status, unintelligible } from './api-error.ts';
import type { KubeClient } from './client.ts';
import type { Clock } from './clock.ts';
import type { KubeObject } from './object.ts';
import { pathOf, type Resource } from './resource.ts';

export type WatchEvent<T> = { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: T };

export type WatchRequest = {
  readonly resource: Resource;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly resourceVersion: string;
  /** After this the server ends the watch in order. */
  readonly timeoutSeconds: number;
  /**
   * After this without a byte the connection may be dead. It need not be: the server sends bookmarks about once a minute, but on
   * a resource in which nothing changes none at all (1.35, measured).
   */
  readonly silenceMs: number;
  readonly signal: AbortSignal;
};

/** The connection was up, as far as anybody could tell, and said nothing for too long. */
export class WatchSilent extends Error {
  override readonly name = 'WatchSilent';
}

/** A line the server never ends would otherwise fill the memory. etcd's own limit for an object is 1.5 MiB. */
const LONGEST_LINE = 64 << 20;

/**
 * One watch from beginning to end: events in order. Returns when the server ended it in order; throws ApiError (410 when the
 * resourceVersion is too old; reason Unknown when a line makes no sense), WatchSilent, or what the network said. A line that is cut
 * off is what the network said, not an event. The rules are those of client-go's rest/request.go (`Watch`, `newStreamWatcher`),
 * rest/watch/decoder.go (`Decode`: no other types of events) and apimachinery watch/streamwatcher.go (`receive`: an unexpected end is
 * an end, what cannot be decoded an error). `silenceMs` is ours: client-go leaves dead connections to HTTP/2 pings.
 */
export async function* watch<T extends KubeObject>(
  client: KubeClient,
  clock: Clock,
  request: WatchRequest,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { resource, namespace, signal, silenceMs } = request;
  const path = pathOf(resource, { namespace });
  const what = `WATCH ${path}`;
  const controller = new AbortController();
  const stop = () => controller.abort(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  const watchdog = createWatchdog(clock, silenceMs, () =>
    controller.abort(new WatchSilent(`${what}: nothing for ${silenceMs} ms, not even a bookmark`)),
  );
  try {
    const answer = await client.open({ path, query: queryOf(request), signal: controller.signal });
    if (answer.statusCode !== 200) {
      const retryAfter = answer.headers['retry-after'];
      throw apiErrorFrom(what, answer.statusCode, await answer.body.text(), String(retryAfter ?? '') || undefined);
    }
    for await (const line of lines(answer.body, watchdog.feed)) yield parse<T>(what, line);
  } catch (error) {
    controller.signal.throwIfAborted();
    throw error;
  } finally {
    watchdog.stop();
    signal.removeEventListener('abort', stop);
    // Ends the connection where the consumer left early; nothing happens where it has ended.
    controller.abort();
  }
}

const queryOf = (request: WatchRequest) => ({
  watch: true,
  allowWatchBookmarks: true,
  resourceVersion: request.resourceVersion,
  timeoutSeconds: request.timeoutSeconds,
  labelSelector: request.labelSelector,
  fieldSelector: request.fieldSelector,
});

/** One timer that looks when it was last fed, rather than one timer per chunk. */
const createWatchdog = (clock: Clock, ms: number, bite: () => void) => {
  let fed = clock.now();
  let cancel = () => {};
  const look = () => {
    const left = fed + ms - clock.now();
    if (left <= 0) bite();
    else cancel = clock.after(left, look);
  };
  cancel = clock.after(ms, look);
  return {
    feed: () => {
      fed = clock.now();
    },
    stop: () => cancel(),
  };
};

async function* lines(body: AsyncIterable<Uint8Array>, onChunk: () => void): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    onChunk();
    const pieces = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = pieces.pop() ?? '';
    if (rest.length > LONGEST_LINE) throw unintelligible(`expected lines of at most ${LONGEST_LINE} bytes`);
    for (const piece of pieces) if (piece !== '') yield piece;
  }
  if (rest.trim() !== '') throw new Error('the connection was cut in the middle of an event');
}

const parse = <T extends KubeObject>(what: string, line: string): WatchEvent<T> => {
  const { type, object } = decode(what, line);
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
    case 'BOOKMARK':
      if (!isObject(object?.metadata) || !object.metadata['resourceVersion'])
        throw unintelligible(`${what}: expected an object with a resourceVersion in a ${type} event`);
      return { type, object: object as unknown as T };
    case 'ERROR':
      if (object === undefined) throw unintelligible(`${what}: expected a Status in an ERROR event`);
      throw apiErrorFromStatus(what, object as Status);
    default:
      throw unintelligible(`${what}: expected ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; got ${String(type)}`);
  }
};

type Fields = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null;

const decode = (what: string, line: string): { readonly type?: unknown; readonly object?: Fields | undefined } => {
  try {
    const event: unknown = JSON.parse(line);
    if (isObject(event))
      return { type: event['type'], object: isObject(event['object']) ? event['object'] : undefined };
  } catch {}
  throw unintelligible(`${what}: expected an event; got ${JSON.stringify(line.slice(0, 100))}`);
};
