import { randomBytes } from 'node:crypto';
import { isAlreadyExists, isNotFound, isTransient } from './api-error.ts';
import type { KubeClient } from './client.ts';
import { type Clock, sleep, systemClock } from './clock.ts';
import { describe, type Log, silent } from './log.ts';
import { type Meter, unmetered } from './meter.ts';
import { microTime } from './micro-time.ts';
import type { KubeObject } from './object.ts';
import { EVENTS } from './resource.ts';
import { createTokenBucket, type TokenBucket } from './token-bucket.ts';

/** What the event is about; `kubectl describe` finds it by the uid. */
export type Regarding = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
};

export type NewEvent = {
  readonly regarding: Regarding;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase: why. */
  readonly reason: string;
  /** CamelCase: what was done or failed. */
  readonly action: string;
  /** For people; cut at 1,024 characters. */
  readonly note: string;
};

export type EventRecorder = {
  /** Never throws and never waits. */
  readonly record: (event: NewEvent) => void;
  /** Resolves when everything recorded so far is written or given up, at the latest after `timeoutMs`. */
  readonly flush: (timeoutMs: number) => Promise<void>;
};

export type EventRecorderOptions = {
  readonly client: KubeClient;
  /** `autossh.dev/operator` */
  readonly controller: string;
  /** The pod. */
  readonly instance: string;
  /** A repeated event is written at most this often; the count is right each time. Default 60,000. */
  readonly seriesMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly meter?: Meter;
};

type Known = {
  readonly key: string;
  readonly name: string;
  readonly namespace: string;
  readonly event: NewEvent;
  readonly first: Date;
  count: number;
  last: Date;
  /** The same by the clock that never jumps. */
  lastSeen: number;
  /** Of the count on the server; 0 while the event is not there. */
  written: number;
  queued: boolean;
  /** Not written again before this. */
  nextWrite: number;
  /** Takes back the timer of the next write. */
  cancel: (() => void) | undefined;
};

/** After this long without a repetition the same event is a new one (client-go's finishTime; the server's own TTL is 1 h). */
const SERIES_ENDS_MS = 6 * 60_000;
/** client-go tools/record spam filter: per object 25 at once, then one in 5 minutes. */
const SPAM = { burst: 25, perSecond: 1 / 300 };
const MOST_KNOWN = 4096;
const MOST_QUEUED = 1000;
const ATTEMPTS = 4;
const RETRY_MS = 1000;
const LONGEST_NOTE = 1024;

type EventObject = KubeObject & Record<string, unknown>;

/**
 * events.k8s.io/v1 events, after client-go tools/events: the same event again (object, type, reason, action, note) becomes a series
 * with a count instead of a further event; an object that has too much to say is cut short. Written one after the other in the
 * background; what cannot be written is counted and forgotten: an event is never worth a reconciliation.
 */
export const createEventRecorder = (options: EventRecorderOptions): EventRecorder => {
  const { client, controller, instance, seriesMs = 60_000 } = options;
  const { clock = systemClock, log = silent, meter = unmetered } = options;
  const known = new Map<string, Known>();
  const spam = new Map<string, TokenBucket>();
  const queue: Known[] = [];
  const idle: (() => void)[] = [];
  let writing = false;

  const drop = (reason: string) => meter.count('kube_events_dropped_total', { reason });

  const create = async (entry: Known): Promise<void> => {
    const { regarding, type, reason, action, note } = entry.event;
    const { count } = entry;
    await client.create<EventObject>(EVENTS, {
      metadata: { name: entry.name, namespace: entry.namespace },
      eventTime: microTime(entry.first),
      type,
      reason,
      action,
      note,
      regarding,
      reportingController: controller,
      reportingInstance: instance,
      ...(count > 1 ? { series: { count, lastObservedTime: microTime(entry.last) } } : {}),
    });
    entry.written = count;
  };

  const write = async (entry: Known): Promise<void> => {
    if (entry.written === 0) return await create(entry);
    const { count, name, namespace } = entry;
    const body = { series: { count, lastObservedTime: microTime(entry.last) } };
    try {
      await client.patch(EVENTS, { name, namespace }, { type: 'merge', body });
      entry.written = count;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      // The server forgets events after a while (client-go tools/events event_broadcaster.go, recordEvent).
      await create(entry);
    }
  };

  const writePatiently = async (entry: Known): Promise<void> => {
    for (let attempt = 1; ; attempt++)
      try {
        return await write(entry);
      } catch (error) {
        if (attempt < ATTEMPTS && isTransient(error)) {
          await sleep(clock, RETRY_MS * 2 ** (attempt - 1));
          continue;
        }
        // The event itself was made by an attempt whose answer was lost (client-go's recordEvent likewise).
        if (isAlreadyExists(error)) {
          entry.written = 1;
          return;
        }
        drop('refused');
        log('warn', 'event not written', { reason: entry.event.reason, error: describe(error) });
        if (entry.written === 0) known.delete(entry.key);
        // Nobody asks for it again, unless it is repeated.
        entry.written = entry.count;
        return;
      }
  };

  const pump = async (): Promise<void> => {
    writing = true;
    for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
      entry.nextWrite = clock.now() + seriesMs;
      await writePatiently(entry);
      entry.queued = false;
      // Repeated while it was written: later, or now if somebody waits for the end.
      if (entry.written === 0 || entry.count === entry.written) continue;
      if (idle.length > 0) enqueue(entry);
      else entry.cancel ??= clock.after(seriesMs, () => enqueue(entry));
    }
    writing = false;
    for (const resolve of idle.splice(0)) resolve();
  };

  const enqueue = (entry: Known) => {
    entry.cancel?.();
    entry.cancel = undefined;
    if (entry.queued || entry.count === entry.written) return;
    if (queue.length >= MOST_QUEUED) return drop('queue');
    entry.queued = true;
    queue.push(entry);
    if (!writing) void pump();
  };

  const isSpam = ({ uid, namespace, name, kind }: Regarding): boolean => {
    const object = uid ?? `${kind}/${namespace ?? ''}/${name}`;
    let bucket = spam.get(object);
    if (bucket === undefined) {
      bucket = createTokenBucket({ ...SPAM, now: clock.now() });
      spam.set(object, bucket);
      forgetOldest(spam, MOST_KNOWN);
    }
    return !bucket.take(clock.now());
  };

  const recordUnsafely = (event: NewEvent) => {
    const { regarding } = event;
    const cut = { ...event, note: event.note.slice(0, LONGEST_NOTE) };
    const key = JSON.stringify([regarding, event.type, event.reason, event.action, cut.note]);
    const now = clock.now();
    const before = known.get(key);
    const date = clock.date();
    if (before !== undefined && now - before.lastSeen < SERIES_ENDS_MS) {
      before.count++;
      before.last = date;
      before.lastSeen = now;
      if (before.written === 0 || now >= before.nextWrite) return enqueue(before);
      // The last of a series is written too, though nothing comes after it.
      before.cancel ??= clock.after(before.nextWrite - now, () => enqueue(before));
      return;
    }
    if (isSpam(regarding)) return drop('spam');
    const entry: Known = {
      key,
      name: `${regarding.name.slice(0, 200)}.${randomBytes(8).toString('hex')}`,
      namespace: regarding.namespace ?? 'default',
      event: cut,
      first: date,
      count: 1,
      last: date,
      lastSeen: now,
      written: 0,
      queued: false,
      nextWrite: now + seriesMs,
      cancel: undefined,
    };
    known.delete(key);
    known.set(key, entry);
    forgetOldest(known, MOST_KNOWN);
    enqueue(entry);
  };

  return {
    record: (event) => {
      try {
        recordUnsafely(event);
      } catch (error) {
        drop('error');
        log('error', 'event not recorded', { error: describe(error) });
      }
    },
    flush: async (timeoutMs) => {
      for (const entry of known.values()) enqueue(entry);
      if (!writing) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      idle.push(resolve);
      const cancel = clock.after(timeoutMs, resolve);
      await promise;
      cancel();
    },
  };
};

const forgetOldest = (map: Map<string, unknown>, most: number) => {
  if (map.size <= most) return;
  const { value: oldest, done } = map.keys().next();
  if (!done) map.delete(oldest);
};
