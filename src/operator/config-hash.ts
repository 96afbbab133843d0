import { createHash } from 'node:crypto';

/**
 * A short name for the content of a tunnel's ConfigMap, for the annotation config.autossh.dev/<tunnel>; the order of the keys does not
 * count. The same content, the same hash, from every replica and every run.
 */
export const configHash = (data: Readonly<Record<string, string>>): string =>
  contentHash(Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Of any JSON value; the order of the keys of objects counts. 64 bits: against mix-ups, not against forgery. */
export const contentHash = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
