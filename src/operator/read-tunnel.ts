import { type Parsed, parseSshTunnel } from '../api/parse.ts';
import type { SshTunnel } from '../api/ssh-tunnel.ts';

/**
 * The tunnel that an object of the API server is. Its status is not judged: it is written by operators, and what a newer one wrote
 * there is no reason to refuse a tunnel after a rollback.
 */
export const readTunnel = (object: unknown): Parsed<SshTunnel> => {
  if (typeof object !== 'object' || object === null) return parseSshTunnel(object);
  const { status: _, ...rest } = object as { status?: unknown };
  return parseSshTunnel(rest);
};
