import type { KubeClient } from './client.ts';

/** Nothing was sent: this process may no longer write. */
export class WriteRefused extends Error {
  override readonly name = 'WriteRefused';
}

/**
 * The same client, whose writes are refused while `mayWrite` says no. With a leader elector's `isLeader` a process that slept
 * (SIGSTOP, a suspended machine) begins no write when it wakes up after its lease, not even before the first timer runs. What was
 * on its way to the socket when it fell asleep still arrives: Kubernetes has no fencing token, client-go has the same gap. Writers
 * must therefore be able to bear one late write, as level-triggered ones do: the new leader sees it and puts it right.
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
