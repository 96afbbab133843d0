import type { KubeClient } from './client.ts';

/** Nothing was sent: this process may no longer write. */
export class WriteRefused extends Error {
  override readonly name = 'WriteRefused';
}

/**
 * The same client, whose writes are refused while `mayWrite` says no. With a leader elector's `isLeader` a process that slept
 * (SIGSTOP, a suspended machine) writes nothing when it wakes up after its lease, not even before the first timer runs.
 */
export const guardWrites = (client: KubeClient, mayWrite: () => boolean): KubeClient => {
  const guard = <Args extends unknown[], R>(write: (...args: Args) => Promise<R>) => {
    return async (...args: Args): Promise<R> => {
      if (!mayWrite()) throw new WriteRefused('expected to be the leader when writing; the lease has run out');
      return await write(...args);
    };
  };
  return {
    ...client,
    create: guard(client.create) as KubeClient['create'],
    update: guard(client.update) as KubeClient['update'],
    apply: guard(client.apply) as KubeClient['apply'],
    patch: guard(client.patch) as KubeClient['patch'],
    delete: guard(client.delete),
    raw: async (method, ...rest) => {
      if (method === 'GET') return await client.raw(method, ...rest);
      return await guard(client.raw)(method, ...rest);
    },
  };
};
