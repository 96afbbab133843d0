import { resolve } from 'node:path';
import type { ControlPlane } from '../cluster/index.ts';
import { until } from '../until.ts';

/** The definition of SshTunnel as it is shipped. */
export const CRD = resolve(import.meta.dirname, '../../../deploy/crds/sshtunnels.autossh.dev.yaml');

/** Has the server know SshTunnels; resolves when it serves them. `how`: more flags of kubectl apply. Rejects with kubectl's words. */
export const establishCrd = async (server: Pick<ControlPlane, 'kubectl'>, ...how: string[]): Promise<void> => {
  const { code, stderr } = await server.kubectl(['apply', ...how, '-f', CRD]);
  if (code !== 0) throw new Error(`expected kubectl to apply the CRD; got ${code}: ${stderr}`);
  await crdServed(server);
};

/** Resolves when the server serves SshTunnels, whoever brought their definition. */
export const crdServed = async (server: Pick<ControlPlane, 'kubectl'>): Promise<void> => {
  // Not `kubectl wait --for=condition=Established`: it fails on a definition that has no conditions yet, and discovery, without which
  // kubectl knows no such kind, learns of it only after it is established.
  const known = async () => (await server.kubectl(['get', 'sshtunnels.autossh.dev', '-A'])).code === 0;
  await until('the server to serve SshTunnels', known, { deadlineMs: 60_000, everyMs: 50 });
};
