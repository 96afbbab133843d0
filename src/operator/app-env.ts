import { documentOf } from '../api/hand-over.ts';
import type { SshTunnel } from '../api/ssh-tunnel.ts';
import type { Container } from './pod.ts';

/** A variable that a forward sets in the containers of the app. */
export type AppVariable = {
  readonly name: string;
  readonly value: string;
  readonly tunnel: string;
  readonly forward: string;
};

/** Where the app finds the forwards of a tunnel, in the names that its author chose. */
export const appVariables = (tunnel: SshTunnel): AppVariable[] => {
  const { forwards } = documentOf(tunnel);
  return tunnel.spec.forwards.flatMap(({ name: forward, env }, index) => {
    const listen = forwards[index]?.listen;
    if (env === undefined || listen === undefined || !('port' in listen)) return [];
    const of = { tunnel: tunnel.metadata.name, forward };
    return [
      ...(env.hostVar === undefined ? [] : [{ name: env.hostVar, value: reachable(listen.host), ...of }]),
      ...(env.portVar === undefined ? [] : [{ name: env.portVar, value: String(listen.port), ...of }]),
    ];
  });
};

/** First in the list, so that variables of the app can be made of them: `$(PGHOST)` sees only what stands before it. */
export const withVariables = <C extends Container>(container: C, variables: readonly AppVariable[]): C => {
  const { env = [] } = container;
  const missing = variables.filter(({ name }) => !env.some((one) => one.name === name));
  if (missing.length === 0) return container;
  return { ...container, env: [...missing.map(({ name, value }) => ({ name, value })), ...env] };
};

/** An address that listens for all is reached at the loopback. */
const reachable = (host: string): string => {
  if (host === '*' || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
};
