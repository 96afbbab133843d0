import { join } from 'node:path';

/** What the volumes of a tunnel are mounted as (mounts.ts), below `root`. */
const SLOTS = ['target', 'hop-1', 'hop-2', 'hop-3', 'hop-4'];

/** The ConfigMap of the tunnel and the sources of envFrom. */
export const configDirectories = (root: string) => (): string[] => [
  join(root, 'config'),
  ...Array.from({ length: 8 }, (_, index) => join(root, 'env', String(index))),
];

/** Keys, certificates and host keys. */
export const loginDirectories = (root: string) => (): string[] =>
  SLOTS.flatMap((slot) => [join(root, 'identity', slot), join(root, 'known-hosts', slot)]);
