import { resolve } from 'node:path';
import type { ControlPlane } from '../cluster/index.ts';
import { until } from '../until.ts';

/** The definition of SshTunnel as it is shipped. */
export const CRD = resolve(import.meta.dirname, '../../../deploy/crds/sshtunnels.autossh.dev.yaml');

/** Has the server know SshTunnels; resolves when it serves them. `how`: more flags of kubectl apply. Rejects with kubectl's words. */
export const establishCrd = async (server: Pick<ControlPlane, 'kubectl'>, ...how: string[]): Promise<void> => {
  for (const args of [
    ['apply', ...how, '-f', CRD],
    ['wait', '--for=condition=Established', '--timeout=60s', 'crd/sshtunnels.autossh.dev'],
  ]) {
    const { code, stderr } = await server.kubectl(args);
    if (code !== 0) throw new Error(`expected kubectl ${args[0]} of the CRD to succeed; got ${code}: ${stderr}`);
  }
  // Established is what the definition says of itself: discovery learns of it a moment later, and until then kubectl knows no such kind.
  const known = async () => (await server.kubectl(['get', 'sshtunnels.autossh.dev', '-A'])).code === 0;
  await until('the server to tell of SshTunnels', known, { deadlineMs: 60_000, everyMs: 50 });
};
