import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { containerName, INJECT_LABEL, TUNNEL_ANNOTATION_PREFIX } from '../../src/api/names.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { NAMESPACES, PODS } from '../../src/kube/resource.ts';
import type { TunnelObject } from '../../src/operator/reconcile-tunnel.ts';
import { SSH_TUNNELS } from '../../src/operator/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { startOperator } from '../support/kube/operator.ts';
import { tunnelOf } from '../support/tunnels.ts';
import { until } from '../support/until.ts';

const PATIENT = { deadlineMs: 60_000, everyMs: 50 };

describe('the operator, asking pods', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let client: KubeClient;
  let connection: Connection;
  let tries = 0;
  beforeAll(async () => {
    server = await upApiServer();
    await establishCrd(server);
    ({ client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8')));
  });
  afterAll(async () => {
    await connection?.close();
    await server?.down();
  });

  it('does so when something about the tunnel is new, not at every update of a pod', async () => {
    // A second try finds nothing of the first.
    const place = { namespace: `updates-${++tries}`, name: 'app' };
    let asked = 0;
    let connected = true;
    const sidecar = createServer((_, response) => {
      asked++;
      response.end(JSON.stringify({ connected, suspended: false, reason: 'AuthFailed', generation: 1 }));
    });
    sidecar.listen(0, '127.0.0.1');
    await once(sidecar, 'listening');
    const { port } = sidecar.address() as AddressInfo;
    const container = containerName('orders-db');
    const readiness = async (ready: boolean) => {
      const state = { running: { startedAt: '2026-01-02T03:04:05Z' } };
      const status = {
        ...{ phase: 'Running', podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] },
        initContainerStatuses: [
          { name: container, ready, state, restartCount: 0, image: 'any', imageID: 'any', started: true },
        ],
      };
      const how = { subresource: 'status', fieldManager: 'kubelet' } as const;
      await client.patch(PODS, place, { type: 'merge', body: { status } }, how);
    };
    await client.create(NAMESPACES, { metadata: { name: place.namespace } });
    const { apiVersion, kind, spec } = tunnelOf();
    const tunnelPlace = { namespace: place.namespace, name: 'orders-db' };
    await client.create<TunnelObject>(SSH_TUNNELS, { apiVersion, kind, metadata: tunnelPlace, spec });
    await client.create<KubeObject & { spec: object }>(PODS, {
      metadata: {
        ...place,
        labels: { [INJECT_LABEL]: 'true' },
        annotations: { [`${TUNNEL_ANNOTATION_PREFIX}orders-db`]: '' },
      },
      spec: {
        initContainers: [
          { name: container, image: 'any', restartPolicy: 'Always', args: ['sidecar', '--http-port', String(port)] },
        ],
        containers: [{ name: 'app', image: 'any' }],
      },
    });
    await readiness(true);
    const ready = async () =>
      (await client.get<TunnelObject>(SSH_TUNNELS, tunnelPlace)).status?.conditions?.find(
        ({ type }) => type === 'Ready',
      );
    const operator = await startOperator({
      server,
      kubeconfig: server.kubeconfig,
      namespace: place.namespace,
      name: 'asking',
    });
    const state = () => operator.daemon.logTail();
    try {
      await until('the tunnel to be ready', async () => (await ready())?.status === 'True', { ...PATIENT, state });
      const before = asked;
      const updates = 30;
      for (let index = 0; index < updates; index++)
        await client.patch(PODS, place, { type: 'merge', body: { metadata: { labels: { index: `${index}` } } } }, {});
      // A change that does matter, seen after all of these.
      connected = false;
      await readiness(false);
      await until('the tunnel to be not ready', async () => (await ready())?.status === 'False', { ...PATIENT, state });
      expect(asked - before).toBeGreaterThan(0);
      expect(asked - before).toBeLessThan(updates / 3);
    } finally {
      await operator.daemon.kill();
      sidecar.close();
    }
  });
});
