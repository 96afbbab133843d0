import { systemClock } from './clock.ts';
import { describe, silent } from './log.ts';
import { unmetered } from './meter.ts';
import { type KubeObject, keyOf } from './object.ts';
import { type ReflectorOptions, reflect } from './reflector.ts';
import { createStore, type Indexers, type Store } from './store.ts';

export type InformerOptions<T extends KubeObject, Index extends string> = Omit<
  ReflectorOptions<T>,
  'sink' | 'signal' | 'transform'
> & {
  readonly indexers?: Indexers<T, Index>;
  /** What is kept of an object, say without managedFields: memory is per object. Must keep metadata name, namespace, uid and resourceVersion. */
  readonly transform?: (object: T) => T;
};

export type Handler<T> = {
  readonly add?: (object: T) => void;
  readonly update?: (object: T, old: T) => void;
  readonly delete?: (object: T) => void;
};

/** A collection of the API server, here: a cache, and somebody told of every change. */
export type Informer<T, Index extends string = never> = {
  readonly name: string;
  readonly store: Store<T, Index>;
  /** Resolves when the first list is in the store and told. */
  readonly synced: Promise<void>;
  readonly hasSynced: () => boolean;
  /** Late handlers are told of what is there already. A handler that throws is logged and harms nobody. Returns its removal. */
  readonly addHandler: (handler: Handler<T>) => () => void;
  /** Until the signal is aborted; never rejects. To be called once. */
  readonly run: (signal: AbortSignal) => Promise<void>;
};

/**
 * A reflector with a store behind it (client-go tools/cache/shared_informer.go). A list after a gap is told as the adds, updates
 * and deletes that lead to it; an object with the resourceVersion that is known already is told nobody; an object deleted and
 * made again in a gap (another uid) is told as a delete and an add.
 */
export const createInformer = <T extends KubeObject, Index extends string = never>(
  options: InformerOptions<T, Index>,
): Informer<T, Index> => {
  const { resource, log = silent, meter = unmetered, clock = systemClock, transform = (object: T) => object } = options;
  const complain = (what: string, error: unknown) =>
    log('error', `${what} of ${resource.plural} failed`, { error: describe(error) });
  const store = createStore<T, Index>(forgiving(options.indexers ?? ({} as Indexers<T, Index>), complain));
  const handlers = new Set<Handler<T>>();
  const { promise: synced, resolve: setSynced } = Promise.withResolvers<void>();
  let hasSynced = false;
  let running = false;

  const tell = (call: (handler: Handler<T>) => void, only: Iterable<Handler<T>> = [...handlers]) => {
    for (const handler of only)
      try {
        call(handler);
      } catch (error) {
        complain('a handler', error);
      }
  };

  /** An object that an older schema let in must not keep the others out: what cannot be trimmed is kept whole. */
  const trim = (raw: T): T => {
    try {
      return transform(raw);
    } catch (error) {
      complain(`the transform of ${keyOf(raw)}`, error);
      return raw;
    }
  };
  const put = (object: T) => {
    const old = store.put(object);
    if (old !== undefined && old.metadata.resourceVersion === object.metadata.resourceVersion) return;
    if (old === undefined) return tell((handler) => handler.add?.(object));
    if (old.metadata.uid === object.metadata.uid) return tell((handler) => handler.update?.(object, old));
    tell((handler) => handler.delete?.(old));
    tell((handler) => handler.add?.(object));
  };
  const remove = (key: string, last?: T) => {
    const old = store.remove(key);
    if (old !== undefined) tell((handler) => handler.delete?.(last ?? old));
  };
  const measure = () => meter.set('kube_reflector_objects', { resource: resource.plural }, store.size());

  const sink = {
    replace: (objects: readonly T[]) => {
      const present = new Set(objects.map(keyOf));
      for (const key of store.keys()) if (!present.has(key)) remove(key);
      for (const object of objects) put(object);
      measure();
      hasSynced = true;
      setSynced();
    },
    apply: (type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T) => {
      if (type === 'DELETED') remove(keyOf(object), object);
      else put(object);
      measure();
    },
  };

  return {
    name: resource.plural,
    store,
    synced,
    hasSynced: () => hasSynced,
    addHandler: (handler) => {
      handlers.add(handler);
      for (const object of store.list()) tell((one) => one.add?.(object), [handler]);
      return () => handlers.delete(handler);
    },
    run: async (signal) => {
      if (running) throw new Error(`expected the informer of ${resource.plural} to be run once`);
      running = true;
      await reflect<T>({ ...options, transform: trim, clock, log, meter, sink, signal });
    },
  };
};

/** The same indexers; one that throws finds no value in that object. */
const forgiving = <T, Index extends string>(
  indexers: Indexers<T, Index>,
  complain: (what: string, error: unknown) => void,
): Indexers<T, Index> => {
  const wrapped = Object.entries<(object: T) => readonly string[]>(indexers).map(([name, index]) => [
    name,
    (object: T) => {
      try {
        return index(object);
      } catch (error) {
        complain(`the index ${name}`, error);
        return [];
      }
    },
  ]);
  return Object.fromEntries(wrapped) as Indexers<T, Index>;
};
