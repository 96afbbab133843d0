import { documentOf } from '../api/hand-over.ts';
import { errorText } from '../api/parse.ts';
import type { SshTunnel } from '../api/ssh-tunnel.ts';
import { notImplemented } from './not-implemented.ts';
import { readTunnel } from './read-tunnel.ts';

export type TunnelVerdict =
  | { readonly ok: true; readonly tunnel: SshTunnel }
  /** A sentence that says what to do. */
  | { readonly ok: false; readonly problem: string };

/** Whether a pod may have this tunnel as a sidecar; `object` is what the API server has under the name, undefined where it has none. */
export const judgeTunnel = (name: string, namespace: string, object: unknown): TunnelVerdict => {
  if (object === undefined)
    return bad(
      `there is no SshTunnel "${name}" in namespace "${namespace}": create it and the pod follows, or correct the annotation (kubectl get sshtunnels -n ${namespace})`,
    );
  const parsed = readTunnel(object);
  if (!parsed.ok)
    return bad(`SshTunnel "${name}" is not valid, correct it: ${parsed.errors.map(errorText).join(', ')}`);
  const tunnel = parsed.value;
  if (tunnel.spec.mode === 'Gateway')
    return bad(
      `SshTunnel "${name}" is a gateway and has no sidecar: connect to its Service (${servicePorts(tunnel, namespace)}) and remove the annotation`,
    );
  const missing = notImplemented(tunnel.spec);
  if (missing.length > 0)
    return bad(`SshTunnel "${name}" asks for what this version cannot do yet: ${missing.join(', ')}`);
  return { ok: true, tunnel };
};

const bad = (problem: string): TunnelVerdict => ({ ok: false, problem });

const servicePorts = (tunnel: SshTunnel, namespace: string): string =>
  documentOf(tunnel)
    .forwards.flatMap(({ kind, listen }) => (kind !== 'remote' && 'port' in listen ? [listen.port] : []))
    .map((port) => `${tunnel.metadata.name}.${namespace}:${port}`)
    .join(', ') || `${tunnel.metadata.name}.${namespace}`;
