import { type Clock, systemClock } from './clock.ts';
import type { Informer } from './informer.ts';
import { type KubeObject, keyOf } from './object.ts';
import type { Store } from './store.ts';

/** A cache that knows what this process wrote although no watch has told of it yet. */
export type OwnWrites<T> = Pick<Store<T>, 'get'> & {
  /** What the server answered to a write. */
  readonly wrote: (object: T) => void;
};

export type OwnWritesOptions = {
  /** How long a write is believed in that no watch tells of. Default 60,000. */
  readonly ttlMs?: number;
  readonly clock?: Clock;
};

/**
 * Whoever is woken up between a write and the watch that tells of it would find the old object, and write again. As client-go's
 * tools/cache/mutation_cache.go: the written one counts until the watch has told of it or of a later one. An end that falls into a gap
 * of the watch is told by nobody: hence the limit.
 */
export const rememberWrites = <T extends KubeObject, Index extends string = never>(
  informer: Pick<Informer<T, Index>, 'store' | 'addHandler'>,
  { ttlMs = 60_000, clock = systemClock }: OwnWritesOptions = {},
): OwnWrites<T> => {
  const written = new Map<string, { readonly object: T; readonly until: number }>();
  const told = (object: T) => {
    const own = written.get(keyOf(object));
    if (own !== undefined && !isLater(own.object, object)) written.delete(keyOf(object));
  };
  informer.addHandler({ add: told, update: told, delete: told });
  return {
    get: (key) => {
      const cached = informer.store.get(key);
      const own = written.get(key);
      if (own === undefined) return cached;
      if (clock.now() < own.until && (cached === undefined || isLater(own.object, cached))) return own.object;
      written.delete(key);
      return cached;
    },
    wrote: (object) => {
      written.set(keyOf(object), { object, until: clock.now() + ttlMs });
    },
  };
};

/** Versions of one resource are whole numbers that grow (Kubernetes 1.35 says so; they always were). */
const isLater = (one: KubeObject, other: KubeObject): boolean => {
  const [a = '', b = ''] = [one.metadata.resourceVersion, other.metadata.resourceVersion];
  return /^\d+$/.test(a) && /^\d+$/.test(b) && BigInt(a) > BigInt(b);
};
