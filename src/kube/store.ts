import { type KubeObject, keyOf } from './object.ts';

/** The values under which an object is found again: names of an index mapped to what it is indexed by. */
export type Indexers<T, Index extends string> = Readonly<Record<Index, (object: T) => readonly string[]>>;

/** Objects as last seen, by key and by index. They are shared: nobody changes them. */
export type Store<T, Index extends string = never> = {
  readonly get: (key: string) => T | undefined;
  readonly list: () => T[];
  readonly keys: () => string[];
  readonly size: () => number;
  /** All objects with this value in this index. */
  readonly byIndex: (index: Index, value: string) => T[];
};

export type WritableStore<T, Index extends string = never> = Store<T, Index> & {
  /** Returns what was there. */
  readonly put: (object: T) => T | undefined;
  readonly remove: (key: string) => T | undefined;
};

/** client-go tools/cache/thread_safe_store.go, with values counted only once per object. */
export const createStore = <T extends KubeObject, Index extends string = never>(
  indexers: Indexers<T, Index>,
): WritableStore<T, Index> => {
  const objects = new Map<string, T>();
  const names = Object.keys(indexers) as Index[];
  const indexes = new Map(names.map((name) => [name, new Map<string, Set<string>>()]));

  const enter = (key: string, object: T) => {
    for (const [name, index] of indexes)
      for (const value of indexers[name](object)) {
        const keys = index.get(value);
        if (keys) keys.add(key);
        else index.set(value, new Set([key]));
      }
  };
  const leave = (key: string, object: T) => {
    for (const [name, index] of indexes)
      for (const value of indexers[name](object)) {
        const keys = index.get(value);
        keys?.delete(key);
        if (keys?.size === 0) index.delete(value);
      }
  };

  return {
    get: (key) => objects.get(key),
    list: () => [...objects.values()],
    keys: () => [...objects.keys()],
    size: () => objects.size,
    byIndex: (name, value) =>
      [...(indexes.get(name)?.get(value) ?? [])].flatMap((key) => {
        const object = objects.get(key);
        return object === undefined ? [] : [object];
      }),
    put: (object) => {
      const key = keyOf(object);
      const old = objects.get(key);
      if (old !== undefined) leave(key, old);
      objects.set(key, object);
      enter(key, object);
      return old;
    },
    remove: (key) => {
      const old = objects.get(key);
      if (old === undefined) return undefined;
      leave(key, old);
      objects.delete(key);
      return old;
    },
  };
};
