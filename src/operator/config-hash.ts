import { createHash } from 'node:crypto';

/** The same for the same data, whatever the order of its keys; short enough for an annotation that people read. */
export const configHash = (data: Readonly<Record<string, string>>): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest('hex')
    .slice(0, 16);
