import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type AdmissionAnswer,
  type AdmissionRequest,
  answerReview,
  parseReview,
} from '../../src/kube/admission-review.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { createPodAdmission } from '../../src/operator/admission.ts';
import type { Container, Pod } from '../../src/operator/pod.ts';
import { planOf } from '../../src/operator/tunnel-plan.ts';
import { issue, makeAuthority } from '../support/cluster/certs.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { type Manifest, manifests } from '../support/manifests.ts';
import { IMAGE, inject, injected, podAsking, sidecarIn } from '../support/pods.ts';
import { until } from '../support/until.ts';

const PATIENT = { deadlineMs: 60_000, everyMs: 50 };
const TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount';

type Tunnel = { metadata: { name: string }; spec: { mode: string } };

describe('injected pods on a real API server that enforces the restricted Pod Security Standard', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  const kubectl = async (args: string[], input?: unknown): Promise<string> => {
    const { stdout, stderr, code } = await server.kubectl(
      args,
      input === undefined ? {} : { input: typeof input === 'string' ? input : JSON.stringify(input) },
    );
    expect(stderr, `kubectl ${args.join(' ')}`).toBe('');
    expect(code).toBe(0);
    return stdout;
  };
  const dryRun = (pod: Pod, namespace = 'shop') =>
    server.kubectl(['create', '--dry-run=server', '-o', 'json', '-n', namespace, '-f', '-'], {
      input: JSON.stringify(pod),
    });
  /** The tunnel as the API server has it: with its defaults, and whatever else it adds. */
  const stored = async ({ object }: Pick<Manifest, 'object'>): Promise<Tunnel> => {
    const { metadata, ...rest } = object as { metadata: object };
    const tunnel = { ...rest, metadata: { ...metadata, namespace: 'shop' } };
    return JSON.parse(await kubectl(['create', '--dry-run=server', '-o', 'json', '-f', '-'], tunnel));
  };

  beforeAll(async () => {
    server = await upApiServer({ serviceAccounts: true });
    await establishCrd(server);
    for (const [name, level] of [
      ['shop', 'restricted'],
      ['net', 'privileged'],
    ]) {
      const labels = { 'pod-security.kubernetes.io/enforce': level };
      await kubectl(['create', '-f', '-'], { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
      // There is no controller manager here that would make it.
      await kubectl(['create', 'serviceaccount', 'default', '-n', name ?? '']);
    }
  });
  afterAll(async () => {
    await server?.down();
  });

  /** An app that the standard admits without us. */
  const restricted = (names: readonly string[], spec: Partial<Pod['spec']> = {}): Pod => {
    const securityContext = {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    };
    return podAsking(names, { containers: [{ name: 'app', image: 'app:1', securityContext }], ...spec });
  };
  const sidecars = manifests('accepted').filter(({ object }) => planOf(object as KubeObject).refusal === null);

  it.each(sidecars.map((one) => [one.name, one] as const))(
    'are admitted with the tunnel %s',
    async (_name, manifest) => {
      const tunnel = await stored(manifest);
      const { name } = tunnel.metadata;
      const tunnels = new Map([[name, tunnel]]);
      const { stdout, stderr, code } = await dryRun(injected(restricted([name]), tunnels));
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const admitted: Pod = JSON.parse(stdout);
      const { env = [], resources: _, ...rest } = sidecarIn(injected(restricted([name]), tunnels), name);
      expect(sidecarIn(admitted, name)).toMatchObject(rest);
      // The API server leaves out what is empty.
      expect(sidecarIn(admitted, name).env).toEqual(env.map(({ value, ...one }) => (value ? { ...one, value } : one)));
      // The defaults that the API server has filled in meanwhile make no second injection.
      expect(inject(admitted, tunnels)).toEqual({ kind: 'unchanged' });
    },
  );

  it.each(['allowPrivilegeEscalation', 'capabilities', 'runAsNonRoot', 'seccompProfile'])(
    'are refused without %s of the sidecar, so the standard is enforced here',
    async (line) => {
      const tunnel = await stored(sidecars.find(({ name }) => name === 'minimal') ?? { object: {} });
      const { name } = tunnel.metadata;
      const pod = injected(restricted([name]), new Map([[name, tunnel]]));
      const initContainers = (pod.spec.initContainers ?? []).map((one) => {
        const { [line]: _, ...securityContext } = one.securityContext ?? {};
        return { ...one, securityContext };
      });
      const { stderr, code } = await dryRun({ ...pod, spec: { ...pod.spec, initContainers } });
      expect(code).toBe(1);
      expect(stderr).toContain('violates PodSecurity "restricted:latest"');
    },
  );

  it('of the host network declare no port of the node', async () => {
    const tunnel = await stored(sidecars.find(({ name }) => name === 'minimal') ?? { object: {} });
    const { name } = tunnel.metadata;
    const { stdout, stderr } = await dryRun(
      injected(podAsking([name], { hostNetwork: true }), new Map([[name, tunnel]])),
      'net',
    );
    expect(stderr).toBe('');
    expect(JSON.stringify(JSON.parse(stdout).spec)).not.toContain('hostPort');
  });

  describe('through a webhook', () => {
    let webhook: Server;
    const calls: string[] = [];
    const tunnelsOf = async (namespace: string, names: readonly string[]) => {
      const { items } = JSON.parse(await kubectl(['get', 'sshtunnels', '-n', namespace, '-o', 'json'])) as {
        items: Tunnel[];
      };
      return new Map(items.filter((one) => names.includes(one.metadata.name)).map((one) => [one.metadata.name, one]));
    };
    const handlers: Record<string, (request: AdmissionRequest) => AdmissionAnswer | Promise<AdmissionAnswer>> = {
      '/inject': createPodAdmission({ image: IMAGE, tunnelsOf }),
      /** Another webhook, that adds a container where the label says so. */
      '/mesh': ({ object }) => {
        const pod = object as Pod;
        const containers = pod.spec.containers.filter(({ name }) => name !== 'mesh');
        const mesh: Container = { ...(containers[0] as Container), name: 'mesh', env: [] };
        const withMesh = { ...pod, spec: { ...pod.spec, containers: [...containers, mesh] } };
        return { allowed: true, object: containers.length < pod.spec.containers.length ? pod : withMesh };
      },
    };
    const configure = (name: string, path: string, matchLabels: object, caBundle: string) =>
      kubectl(['create', '-f', '-'], {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'MutatingWebhookConfiguration',
        metadata: { name },
        webhooks: [
          {
            name: `${name}.autossh.dev`,
            clientConfig: {
              url: `https://${server.hostAddress}:${(webhook.address() as AddressInfo).port}${path}`,
              caBundle,
            },
            rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
            objectSelector: { matchLabels },
            failurePolicy: 'Fail',
            reinvocationPolicy: 'IfNeeded',
            sideEffects: 'None',
            admissionReviewVersions: ['v1'],
            timeoutSeconds: 30,
          },
        ],
      });

    beforeAll(async () => {
      const authority = await makeAuthority(join(server.dir, 'webhook-pki'));
      const pair = await issue(authority, {
        name: 'webhook',
        commonName: 'webhook',
        altNames: [`IP:${server.hostAddress}`],
      });
      webhook = createServer(
        { cert: readFileSync(pair.cert), key: readFileSync(pair.key) },
        async (message, response) => {
          const path = message.url?.replace(/\?.*/, '') ?? '';
          calls.push(path);
          try {
            const request = parseReview(await text(message));
            const answer = await handlers[path]?.(request);
            if (answer === undefined) throw new Error(`nothing at ${path}`);
            response.setHeader('Content-Type', 'application/json');
            response.end(JSON.stringify(answerReview(request, answer)));
          } catch (error) {
            response.statusCode = 500;
            response.end(String(error));
          }
        },
      );
      await new Promise<void>((done) => webhook.listen(0, server.hostAddress, done));
      const caBundle = readFileSync(authority.cert).toString('base64');
      await configure('a-inject', '/inject', { 'autossh.dev/inject': 'true' }, caBundle);
      await configure('z-mesh', '/mesh', { mesh: 'true' }, caBundle);
      for (const [name, port] of [
        ['orders-db', 5432],
        ['queue', 5672],
      ])
        await kubectl(['create', '-f', '-'], {
          apiVersion: 'autossh.dev/v1alpha1',
          kind: 'SshTunnel',
          metadata: { name, namespace: 'shop' },
          spec: {
            ssh: {
              host: 'bastion.example.com',
              user: 'tunnel',
              identity: { secretRef: { name: 'bastion-key' } },
              knownHosts: { configMapRef: { name: 'bastion-hosts' } },
            },
            forwards: [
              {
                name: 'main',
                local: { listen: { port }, target: { host: 'far', port } },
                env: { portVar: `PORT_${port}` },
              },
            ],
          },
        });
      // The API server takes up a new webhook configuration a moment after it says that it has it.
      await until(
        'both webhooks in use',
        async () => {
          calls.length = 0;
          await dryRun(withLabel(restricted(['orders-db'])));
          return calls.includes('/inject') && calls.includes('/mesh');
        },
        PATIENT,
      );
    });
    beforeEach(() => {
      calls.length = 0;
    });
    afterAll(async () => {
      webhook?.closeAllConnections();
      await new Promise((done) => webhook?.close(done) ?? done(undefined));
    });

    const withLabel = (pod: Pod): Pod => ({
      ...pod,
      metadata: { ...pod.metadata, labels: { ...pod.metadata.labels, mesh: 'true' } },
    });
    const created = async (pod: Pod): Promise<Pod> => {
      const { stdout, stderr, code } = await dryRun(pod);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      return JSON.parse(stdout);
    };

    it('get their sidecars first, called once, and no token in them', async () => {
      const pod = await created(restricted(['queue', 'orders-db']));
      expect(pod.spec.initContainers?.map(({ name }) => name)).toEqual(['autossh-orders-db', 'autossh-queue']);
      expect(pod.spec.containers[0]?.env).toEqual([
        { name: 'PORT_5432', value: '5432' },
        { name: 'PORT_5672', value: '5672' },
      ]);
      const tokens = ({ volumeMounts = [] }: Container) =>
        volumeMounts
          .filter(({ mountPath }) => mountPath === TOKEN)
          .map(({ name }) => name.replace(/^(kube-api-access)-\w+$/, '$1'));
      expect(pod.spec.containers.map(tokens)).toEqual([['kube-api-access']]);
      expect(pod.spec.initContainers?.map(tokens)).toEqual([
        ['autossh-orders-db-no-token'],
        ['autossh-queue-no-token'],
      ]);
      expect(calls).toEqual(['/inject']);
    });

    it('are completed when another webhook adds a container afterwards', async () => {
      const pod = await created(withLabel(restricted(['orders-db'])));
      expect(pod.spec.containers.map(({ name, env }) => [name, env])).toEqual(
        ['app', 'mesh'].map((name) => [name, [{ name: 'PORT_5432', value: '5432' }]]),
      );
      expect(pod.spec.initContainers).toHaveLength(1);
      expect(calls.filter((path) => path === '/inject')).toHaveLength(2);
    });

    it('are refused with a sentence that says what to do', async () => {
      const { stderr, code } = await dryRun(restricted(['nowhere']));
      expect(code).toBe(1);
      expect(stderr).toContain('there is no SshTunnel "nowhere" in namespace "shop": create it');
    });

    it('are left alone where they do not ask', async () => {
      const pod = restricted(['orders-db']);
      const { spec } = await created({ ...pod, metadata: { ...pod.metadata, labels: {} } });
      expect(spec).not.toHaveProperty('initContainers');
      expect(calls).toEqual([]);
    });
  });
});
