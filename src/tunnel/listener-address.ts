import type { Endpoint, TunnelDocument } from '../api/document.ts';

/** How a client on the same machine reaches a listener of ssh. */
export type ListenerAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** A listener on all addresses, or on the loopback by name, is reached by the loopback of the family that ssh listens in. */
export const listenerAddress = (
  listen: Endpoint,
  { addressFamily }: Pick<TunnelDocument['ssh']['options'], 'addressFamily'>,
): ListenerAddress => {
  if ('path' in listen) return listen;
  const { host, port } = listen;
  if (host === '*' || host === 'localhost') return { host: addressFamily === 'IPv6' ? '::1' : '127.0.0.1', port };
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  // However it is written, what is left without zeros, colons and brackets is nothing.
  return { host: /^[[\]0:]*::[[\]0:]*$/.test(host) ? '::1' : host, port };
};
