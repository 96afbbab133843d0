import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { createClient, type KubeClient } from '../../../src/kube/client.ts';
import { type Connection, connect } from '../../../src/kube/connection.ts';
import { type Meter, unmetered } from '../../../src/kube/meter.ts';

/** A client for a kubeconfig as text; `server` stands in front of the server named there. */
export const clientOf = (
  kubeconfig: string,
  { server, meter = unmetered }: { server?: string; meter?: Meter } = {},
): { client: KubeClient; connection: Connection } => {
  const connection = connect({
    load: () => {
      const config = new KubeConfig();
      config.loadFromString(kubeconfig);
      const cluster = config.getCurrentCluster();
      // client-node speaks plain HTTP only where nobody expects it to verify anything.
      if (cluster !== null && server !== undefined)
        config.clusters = [{ ...cluster, server, skipTLSVerify: server.startsWith('http:') }];
      return config;
    },
    userAgent: 'autossh-operator-test/0',
  });
  return { client: createClient({ connection, meter }), connection };
};
