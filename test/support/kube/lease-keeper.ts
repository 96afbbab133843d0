import { ApiError } from '../../../src/kube/api-error.ts';
import type { KubeClient } from '../../../src/kube/client.ts';
import type { Lease } from '../../../src/kube/leader-election.ts';

/** One Lease, compare-and-swap by resourceVersion: for virtual time, in which no server can be real. */
export const createLeaseKeeper = (): KubeClient => {
  let stored: Lease | undefined;
  let version = 0;
  const keep = async (_: unknown, lease: Lease): Promise<Lease> => {
    if (stored !== undefined && lease.metadata.resourceVersion !== stored.metadata.resourceVersion)
      throw new ApiError({ code: 409, reason: 'Conflict', message: 'somebody else wrote' });
    stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(++version) } };
    return stored;
  };
  const get = async () => {
    if (stored === undefined) throw new ApiError({ code: 404, reason: 'NotFound', message: 'no lease' });
    return stored;
  };
  return { get, create: keep, update: keep } as unknown as KubeClient;
};
