import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CHART, type Manifest, NAMESPACE, objectsOf, RELEASE } from '../support/chart.ts';
import { chartClients } from '../support/chart-clients.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { drifted, generatedByHelm } from '../support/generate.ts';

const root = resolve(import.meta.dirname, '../..');

/** A value for everything that can be set. */
const ALL_SET = {
  nameOverride: 'tunnels',
  image: {
    repository: 'mirror.example.com:5000/a',
    tag: 'x',
    digest: `sha256:${'0'.repeat(64)}`,
    pullPolicy: 'Always',
  },
  sidecar: { image: 'mirror.example.com:5000/b@sha256:1', pullPolicy: 'Never' },
  imagePullSecrets: [{ name: 'registry' }],
  replicas: 3,
  crds: { install: true },
  serviceAccount: { create: true, name: 'mine', annotations: { a: 'b' } },
  rbac: { create: true, aggregate: false },
  webhook: { timeoutSeconds: 30, excludedNamespaces: ['build', 'kube-system'] },
  podDisruptionBudget: { enabled: true },
  resources: { requests: { cpu: 1 }, limits: { memory: '1Gi' } },
  priorityClassName: 'system-cluster-critical',
  nodeSelector: { 'kubernetes.io/os': 'linux' },
  tolerations: [{ key: 'a', operator: 'Exists', effect: 'NoSchedule' }],
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }],
      },
    },
  },
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: {} },
  ],
  podAnnotations: { a: 'b' },
  podLabels: { a: 'b' },
  extraArgs: ['--flag=1'],
  extraEnv: [{ name: 'A', value: 'b' }],
};

let server: Awaited<ReturnType<typeof upApiServer>>;
const { kubectl, helm, render, makeNamespace } = chartClients(() => server);
beforeAll(async () => {
  server = await upApiServer();
  await makeNamespace();
});
afterAll(async () => {
  await server?.down();
});

const only = <T extends { kind: string }>(objects: readonly T[], kind: string): T => {
  const found = objects.filter((one) => one.kind === kind);
  if (found.length !== 1 || found[0] === undefined) throw new Error(`expected one ${kind}; got ${found.length}`);
  return found[0];
};
type Deployment = Manifest & {
  spec: { template: { spec: { containers: { image: string; command: string[]; args: string[] }[] } } };
};
const controllerOf = (objects: readonly Manifest[]) => {
  const [container] = (only(objects, 'Deployment') as Deployment).spec.template.spec.containers;
  if (container === undefined) throw new Error('expected a container');
  return container;
};

describe('the chart as files', () => {
  it('passes helm lint --strict', async () => {
    expect(await helm('lint', '--strict', CHART)).toContain('0 chart(s) failed');
  });

  it('has the version of the package', () => {
    const chart = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect([chart.version, chart.appVersion]).toEqual([version, version]);
  });

  it('is what deploy/install.yaml was made from', async () => {
    expect(drifted(await generatedByHelm(server.programs.helm))).toEqual([]);
  });

  it('starts the controller under tini with the names of what it brings', async () => {
    const objects = await render();
    const image = 'ghcr.io/autossh-operator/autossh-operator:0.1.0';
    expect(controllerOf(objects)).toMatchObject({
      image,
      command: ['tini', '--', 'autossh-operator', 'controller'],
      args: [
        `--image=${image}`,
        '--image-pull-policy=IfNotPresent',
        `--webhook-service=${only(objects, 'Service').metadata.name}`,
        `--webhook-configuration=${only(objects, 'MutatingWebhookConfiguration').metadata.name}`,
        `--certificate-secret=${only(objects, 'Secret').metadata.name}`,
      ],
    });
  });

  it('takes the image by digest, and another for the sidecars', async () => {
    const digest = `sha256:${'0a'.repeat(32)}`;
    const pinned = ['--set', 'image.repository=mirror.example.com:5000/a/b', '--set', `image.digest=${digest}`];
    const image = `mirror.example.com:5000/a/b:0.1.0@${digest}`;
    expect(controllerOf(await render(...pinned))).toMatchObject({
      image,
      args: expect.arrayContaining([`--image=${image}`]),
    });
    const sidecar = ['--set', 'image.tag=1.2.3', '--set', 'sidecar.image=example.com/sidecar:9'];
    expect(controllerOf(await render(...sidecar))).toMatchObject({
      image: 'ghcr.io/autossh-operator/autossh-operator:1.2.3',
      args: expect.arrayContaining(['--image=example.com/sidecar:9']),
    });
  });

  it('is refused by a cluster without native sidecars', async () => {
    const template = ['template', RELEASE, CHART, '--kube-version'];
    expect((await server.helm([...template, 'v1.29.15'])).stderr).toContain('requires kubeVersion: >=1.30.0-0');
    expect(await server.helm([...template, 'v1.30.1-vendor.7'])).toMatchObject({ code: 0 });
  });

  it('makes a PodMonitor when asked', async () => {
    const set = ['metrics.podMonitor.enabled=true', 'metrics.podMonitor.interval=30s', 'metrics.podMonitor.labels.a=b'];
    const monitor = only(await render(...set.flatMap((one) => ['--set', one])), 'PodMonitor');
    expect(monitor).toMatchObject({
      metadata: { labels: { a: 'b' } },
      spec: {
        selector: { matchLabels: { 'app.kubernetes.io/instance': RELEASE } },
        podMetricsEndpoints: [{ port: 'metrics', path: '/metrics', interval: '30s' }],
      },
    });
  });

  const refusals: [what: string, set: string, at: string, says: string][] = [
    ['a name nobody knows', 'replicaCount=3', "''", "additional properties 'replicaCount' not allowed"],
    ['one further down', 'image.name=x', "'/image'", "additional properties 'name' not allowed"],
    ['text for a number', 'replicas=two', "'/replicas'", 'got string, want integer'],
    ['no replica', 'replicas=0', "'/replicas'", 'minimum: got 0, want 1'],
    ['text for a boolean', 'crds.install=maybe', "'/crds/install'", 'got string, want boolean'],
    ['a tag in the repository', 'image.repository=example.com/a:1', "'/image/repository'", 'does not match pattern'],
    ['a digest cut short', 'image.digest=sha256:abc', "'/image/digest'", 'does not match pattern'],
    ['a pull policy of another spelling', 'image.pullPolicy=always', "'/image/pullPolicy'", 'must be one of'],
    ['a time the API server refuses', 'webhook.timeoutSeconds=31', "'/webhook/timeoutSeconds'", 'maximum: got 31'],
    ['a namespace that is none', 'webhook.excludedNamespaces={A_b}', "'/webhook/excludedNamespaces/0'", 'pattern'],
    ['a full name with a dot', 'fullnameOverride=a.b', "'/fullnameOverride'", 'does not match pattern'],
    ['an argument that is no flag', 'extraArgs={verbose}', "'/extraArgs/0'", 'does not match pattern'],
  ];
  it.each(refusals)('refuses %s: %s', async (_what, set, at, says) => {
    const { stderr, code } = await server.helm(['template', RELEASE, CHART, '--set', set]);
    expect(code).toBe(1);
    expect(stderr).toContain(`- at ${at}: `);
    expect(stderr).toContain(says);
  });
});

describe('what the API server says to the chart', () => {
  const values: [name: string, values: unknown][] = [
    ['the defaults', {}],
    ['all set', ALL_SET],
    ['names of others', { fullnameOverride: 'tunnels', serviceAccount: { create: false, name: 'mine' } }],
    [
      'everything off',
      { crds: { install: false }, rbac: { create: false }, podDisruptionBudget: { enabled: false }, resources: null },
    ],
    ['OpenShift', { podSecurityContext: { runAsUser: null, runAsGroup: null } }],
  ];
  it.each(values)('accepts %s', async (name, given) => {
    const file = join(server.dir, `values-${name.replaceAll(' ', '-')}.yaml`);
    writeFileSync(file, JSON.stringify(given));
    const rendered = await helm('template', RELEASE, CHART, '--values', file);
    // strict: an unknown field is a fault.
    const applied = await kubectl(
      ['apply', '--dry-run=server', '--validate=strict', '-o', 'name', '-f', '-'],
      rendered,
    );
    expect(applied.trim().split('\n')).toHaveLength(objectsOf(rendered).length);
    // The same by Helm itself, which asks the server for its versions first.
    expect(await helm('install', RELEASE, CHART, '--values', file, '--dry-run=server')).toContain('kind: Deployment');
  });

  it('lets its pods into a namespace of Pod Security restricted', async () => {
    const { template } = (only(await render(), 'Deployment') as Deployment).spec;
    const pod = { apiVersion: 'v1', kind: 'Pod', ...template, metadata: { name: 'controller', namespace: NAMESPACE } };
    await kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(pod));
    // And would not, were it otherwise.
    const root = structuredClone(pod);
    Object.assign(root.spec, { securityContext: { runAsUser: 0 } });
    const { stderr } = await server.kubectl(['create', '--dry-run=server', '-f', '-'], { input: JSON.stringify(root) });
    expect(stderr).toContain('violates PodSecurity "restricted:latest"');
  });
});
