import type { SshTunnelSpec } from '../api/ssh-tunnel.ts';

/** What a valid specification asks for that this version cannot do: it is refused in words, never silently done otherwise. */
export const notImplemented = (spec: SshTunnelSpec): string[] => [
  ...(spec.mode === 'Gateway' ? ['spec.mode: Gateway'] : []),
  // Without it there is nothing to roll either: sidecar.rolloutStrategy is about these only.
  ...(spec.workloads.length > 0 ? ['spec.workloads (mark the pod templates yourself)'] : []),
];
