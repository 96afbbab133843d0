import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import type { KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import type { Lease } from '../../src/kube/leader-election.ts';
import { controllerOf, type KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS, LEASES, MUTATING_WEBHOOKS, NAMESPACES, SECRETS } from '../../src/kube/resource.ts';
import { SSH_TUNNELS } from '../../src/operator/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { createFakeTime, fakeTimeMissing } from '../support/fake-time.ts';
import { clientOf } from '../support/kube/client.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { createFaultProxy, type FaultProxy } from '../support/kube/fault-proxy.ts';
import { type Operator, startOperator, writeKubeconfig } from '../support/kube/operator.ts';
import { itWith } from '../support/needs.ts';
import { tunnelOf } from '../support/tunnels.ts';
import { until } from '../support/until.ts';

const NAMESPACE = 'clock';
const HOUR = 3600;
/** 2 s each: together more than the 15 s after which a follower takes a lease that nobody renews. */
const RENEWALS = 9;
const PATIENT = { deadlineMs: 120_000, everyMs: 100 };
/** Nobody has to wait for an hour that was skipped. */
const PROMPT = { deadlineMs: 60_000, everyMs: 20 };

type Loose = KubeObject & Record<string, unknown>;
type Tunnel = KubeObject & { status?: { conditions?: { type: string; status: string }[] } };

describe('two operators whose time of day jumps', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let proxy: FaultProxy;
  let client: KubeClient;
  let connection: Connection;
  beforeAll(async () => {
    server = await upApiServer();
    await establishCrd(server);
    ({ client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8')));
    // Speaks HTTP: the test's API server has a certificate of a minute ago, which an hour before is none yet.
    proxy = await createFaultProxy(server.credentials);
    await client.create(NAMESPACES, { metadata: { name: NAMESPACE } });
    const webhook = {
      name: 'pods.autossh.dev',
      clientConfig: { url: 'https://127.0.0.1:1/mutate-pods' },
      rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
      objectSelector: { matchLabels: { nobody: 'has-this' } },
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
    };
    await client.create<Loose>(MUTATING_WEBHOOKS, { metadata: { name: NAMESPACE }, webhooks: [webhook] });
  });
  afterAll(async () => {
    await proxy?.close();
    await connection?.close();
    await server?.down();
  });

  const start = async (name: string) => {
    const time = createFakeTime(join(server.dir, `time-${name}`));
    const kubeconfig = writeKubeconfig(join(server.dir, 'through-proxy'), { server: proxy.url, user: {} });
    const options = { server, kubeconfig, namespace: NAMESPACE, webhookConfiguration: NAMESPACE, name };
    return { time, operator: await startOperator({ ...options, env: time.env }) };
  };
  const lease = async () => (await client.get<Lease>(LEASES, { namespace: NAMESPACE, name: 'autossh-operator' })).spec;
  const said = (operator: Operator, what: string) => operator.lines().filter(({ msg }) => msg === what);
  const reconciled = async (name: string, state: () => string) => {
    const { apiVersion, kind, spec } = tunnelOf();
    await client.create<Loose>(SSH_TUNNELS, { apiVersion, kind, metadata: { name, namespace: NAMESPACE }, spec });
    const isDone = async () => {
      const { status } = await client.get<Tunnel>(SSH_TUNNELS, { name, namespace: NAMESPACE });
      const maps = (await client.list(CONFIG_MAPS, { namespace: NAMESPACE })).items;
      const isAccepted = status?.conditions?.some((one) => one.type === 'Accepted' && one.status === 'True');
      return isAccepted && maps.some((one) => controllerOf(one)?.name === name);
    };
    await until(`${name} to be reconciled`, isDone, { ...PROMPT, state });
  };
  /** Whether the webhook shows a certificate that the API server, whose clock is right, takes. */
  const isTrusted = async (operator: Operator): Promise<string> => {
    const [served] = said(operator, 'webhook, health and metrics served');
    const [secret] = (await client.list<Loose>(SECRETS, { namespace: NAMESPACE })).items;
    const data = (secret?.['data'] ?? {}) as Record<string, string>;
    const ca = Buffer.from(data['ca.crt'] ?? '', 'base64');
    const servername = `autossh-operator.${NAMESPACE}.svc`;
    return await new Promise((done) => {
      const socket = connectTls({ host: '127.0.0.1', port: Number(served?.['webhook']), ca, servername });
      socket.on('secureConnect', () => {
        done('trusted');
        socket.destroy();
      });
      socket.on('error', (error) => done(String(error)));
    });
  };

  itWith(fakeTimeMissing)('keep one leader, who goes on working at once, and the webhook', async () => {
    const first = await start('first');
    const running = [first];
    const state = () => running.map(({ operator }) => operator.daemon.logTail()).join('\n---\n');
    try {
      await until('the first to lead', () => said(first.operator, 'leading').length > 0, { ...PATIENT, state });
      const second = await start('second');
      running.push(second);
      await until('the second to know', () => said(second.operator, 'leader changed').length > 0, {
        ...PATIENT,
        state,
      });
      await reconciled('before', state);
      const holder = (await lease())?.holderIdentity;
      expect(holder).toMatch(/^first_/);
      const transitions = (await lease())?.leaseTransitions;
      // Forward, and then two hours back; the follower's at the same time the other way.
      for (const hours of [1, -1]) {
        first.time.set(hours * HOUR);
        second.time.set(-hours * HOUR);
        await reconciled(hours > 0 ? 'after-forward' : 'after-back', state);
        const renewals = new Set<string>();
        const isRenewed = async () => {
          const { holderIdentity, leaseTransitions, renewTime = '' } = (await lease()) ?? {};
          expect([holderIdentity, leaseTransitions], state()).toEqual([holder, transitions]);
          const ahead = (Date.parse(renewTime) - Date.now()) / 1000;
          if (Math.abs(ahead - hours * HOUR) < HOUR / 2) renewals.add(renewTime);
          return renewals.size >= RENEWALS;
        };
        await until('renewals by the new time', isRenewed, { ...PATIENT, state });
        for (const { operator } of running) {
          expect(await isTrusted(operator)).toBe('trusted');
          expect(await operator.health('/healthz')).toBe(200);
          expect(await operator.health('/readyz')).toBe(200);
        }
        await reconciled(hours > 0 ? 'later-forward' : 'later-back', state);
      }
      expect(said(first.operator, 'lease lost')).toEqual([]);
      expect(said(second.operator, 'leading')).toEqual([]);
      // In this order, or the second would be right to lead.
      for (const { operator } of [second, first]) {
        await operator.daemon.stop();
        expect(operator.daemon.exitCode()).toBe(0);
      }
    } finally {
      for (const { operator, time } of running) {
        await operator.daemon.stop();
        time.removeTraces(operator.daemon.pid);
      }
    }
  });
});
