import type { Endpoint, TunnelDocument } from '../api/document.ts';

/** What a heartbeat is made of: two that are equal need not be exchanged for one another. */
export type HeartbeatPlan =
  | { readonly method: 'Auto' | 'Loop' | 'Ping' | 'None' }
  | { readonly method: 'Echo'; readonly port: number }
  | { readonly method: 'Forward'; readonly forward: string; readonly target: Endpoint };

/**
 * The heartbeat that a document asks for. A document that misses what its method needs, which only another hand than the controller's
 * can have written, gets Auto: it works everywhere.
 */
export const heartbeatPlan = ({ heartbeat, forwards }: TunnelDocument): HeartbeatPlan => {
  const { method, echoPort, forward: name } = heartbeat;
  if (method === 'Echo') return echoPort === undefined ? { method: 'Auto' } : { method, port: echoPort };
  if (method !== 'Forward') return { method };
  const forward = forwards.find((one) => one.name === name);
  return forward?.kind === 'local' ? { method, forward: forward.name, target: forward.target } : { method: 'Auto' };
};
