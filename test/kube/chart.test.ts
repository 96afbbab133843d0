import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseSshTunnel } from '../../src/api/parse.ts';
import { CHART, type Manifest, NAMESPACE, objectsOf, RELEASE } from '../support/chart.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { drifted, generatedByHelm } from '../support/generate.ts';
import { until } from '../support/until.ts';

const root = resolve(import.meta.dirname, '../..');
const INSTALL = join(root, 'deploy/install.yaml');
const SAMPLES = join(root, 'deploy/samples');
const CERTIFICATE = 'autossh-operator-certificate';
const OPERATOR = `system:serviceaccount:${NAMESPACE}:${RELEASE}`;

/** A value for everything that can be set. */
const ALL_SET = {
  nameOverride: 'tunnels',
  image: {
    repository: 'mirror.example.com:5000/a',
    tag: 'x',
    digest: `sha256:${'0'.repeat(64)}`,
    pullPolicy: 'Always',
  },
  sidecar: { image: 'mirror.example.com:5000/b@sha256:1' },
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
beforeAll(async () => {
  // Without it the API server would send webhook calls to the Service's address, which only a node's kube-proxy makes reachable.
  server = await upApiServer({ extraFlags: ['--enable-aggregator-routing=true'] });
  await kubectl(['create', 'namespace', NAMESPACE]);
  await kubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted']);
});
afterAll(async () => {
  await server?.down();
});

const kubectl = async (args: readonly string[], input?: string): Promise<string> => {
  const { stdout, stderr, code } = await server.kubectl(args, input === undefined ? {} : { input });
  expect(`${code} ${stderr}`).toBe('0 ');
  return stdout;
};
const helm = async (...args: string[]): Promise<string> => {
  const { stdout, stderr, code } = await server.helm([...args, '--namespace', NAMESPACE]);
  expect(`${code} ${stderr}`).toBe('0 ');
  return stdout;
};
const render = async (...args: string[]): Promise<Manifest[]> =>
  objectsOf(await helm('template', RELEASE, CHART, ...args));
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

/** One after the other: the life of a release. */
describe('a release', () => {
  const get = async (...args: string[]) => JSON.parse(await kubectl(['get', ...args, '-o', 'json']));
  const webhooks = async () => (await get('mutatingwebhookconfiguration', RELEASE)).webhooks;
  const secret = async () => await get('secret', CERTIFICATE, '-n', NAMESPACE);

  it('is installed, with a CRD older than this', async () => {
    const older = join(server.dir, 'older');
    cpSync(CHART, older, { recursive: true });
    const path = join(older, 'templates/crd.yaml');
    const text = readFileSync(path, 'utf8');
    const without = text.replace(/ +shortNames:\n +- sshtun\n/, '');
    expect(without).not.toBe(text);
    writeFileSync(path, without);
    const notes = await helm('install', RELEASE, older, '--set', 'replicas=1');
    expect(notes).toContain(`kubectl --namespace ${NAMESPACE} rollout status deployment/autossh-operator`);
    expect(notes).toContain('WARNING: with one replica');
    await kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd/sshtunnels.autossh.dev']);
    expect((await webhooks()).map(({ clientConfig }: { clientConfig: object }) => clientConfig)).toEqual([
      { service: { name: RELEASE, namespace: NAMESPACE, path: '/mutate-pods', port: 443 } },
    ]);
    expect((await secret()).data).toBeUndefined();
  });

  it('gives the operator its rights, and no more', async () => {
    const asked = [...ALLOWED.map((one) => [one, true] as const), ...DENIED.map((one) => [one, false] as const)];
    const reviews = asked.map(([one]) => review(...one));
    const answers = await kubectl(
      ['create', '-o', 'jsonpath={.status.allowed}{"\\n"}', '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items: reviews }),
    );
    const found = answers
      .trim()
      .split('\n')
      .map((allowed, index) => [asked[index]?.[0], allowed === 'true']);
    expect(found).toEqual(asked);
  });

  const pod = (namespace: string, labels: Readonly<Record<string, string>>) =>
    server.kubectl(['create', '--dry-run=server', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'app', namespace, labels },
        spec: {
          securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [
            {
              name: 'app',
              image: 'example.com/app',
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
            },
          ],
        },
      }),
    });
  const marked = { 'autossh.dev/inject': 'true' };
  const refused = 'failed calling webhook "inject.autossh.dev"';

  it('calls the webhook for marked pods, and no others', async () => {
    // Nobody answers here: a pod is refused exactly when the webhook is asked.
    await until('the webhook to be asked', async () => (await pod('default', marked)).stderr.includes(refused));
    for (const [namespace, labels] of [
      ['default', {}],
      ['default', { 'autossh.dev/inject': 'false' }],
      ['kube-system', marked],
      [NAMESPACE, marked],
    ] as const)
      expect(await pod(namespace, labels)).toMatchObject({ code: 0, stderr: '' });
    expect((await pod('default', marked)).stderr).toContain(refused);
  });

  it('takes the samples, which say what they need', async () => {
    for (const file of readdirSync(SAMPLES)) {
      await kubectl(['apply', '-f', join(SAMPLES, file)]);
      for (const object of objectsOf(readFileSync(join(SAMPLES, file), 'utf8')))
        if (object.kind === 'SshTunnel') expect(parseSshTunnel(object)).toMatchObject({ ok: true });
    }
    expect(readdirSync(SAMPLES).length).toBeGreaterThanOrEqual(3);
    expect((await get('sshtunnels.autossh.dev')).items).toHaveLength(1);
  });

  /** Any certificate and key that fit: the API server warns of others. */
  const certificate = () => {
    const { cert, key } = server.credentials;
    return { 'tls.crt': Buffer.from(cert).toString('base64'), 'tls.key': Buffer.from(key).toString('base64') };
  };
  /** As the operator does it: by its own account, with its own field manager. */
  const fill = async () => {
    const { metadata } = await get('mutatingwebhookconfiguration', RELEASE);
    const caBundle = Buffer.from(server.credentials.ca).toString('base64');
    const { name, uid } = metadata;
    const { apiVersion, kind } = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
    };
    const bundle = {
      apiVersion,
      kind,
      metadata: { name, uid },
      webhooks: [{ name: 'inject.autossh.dev', clientConfig: { caBundle } }],
    };
    await kubectl(
      [
        'apply',
        '--server-side',
        '--field-manager=autossh-operator',
        '--force-conflicts',
        `--as=${OPERATOR}`,
        '-f',
        '-',
      ],
      JSON.stringify(bundle),
    );
    const filled = { ...(await secret()), data: certificate() };
    await kubectl(['replace', `--as=${OPERATOR}`, '-f', '-'], JSON.stringify(filled));
    return caBundle;
  };
  const expectKept = async (caBundle: string) => {
    expect((await webhooks())[0].clientConfig.caBundle).toBe(caBundle);
    expect((await secret()).data).toEqual(certificate());
  };

  it('is upgraded, the CRD too, and keeps what the operator wrote', async () => {
    const caBundle = await fill();
    await helm('upgrade', RELEASE, CHART, '--set', 'webhook.timeoutSeconds=7');
    await expectKept(caBundle);
    expect((await webhooks())[0].timeoutSeconds).toBe(7);
    expect((await get('crd', 'sshtunnels.autossh.dev')).spec.names.shortNames).toEqual(['sshtun']);
    expect((await get('deployment', RELEASE, '-n', NAMESPACE)).spec.replicas).toBe(2);
    await helm('upgrade', RELEASE, CHART, '--server-side=false', '--set', 'webhook.timeoutSeconds=8');
    await expectKept(caBundle);
    await helm('rollback', RELEASE, '2');
    await expectKept(caBundle);
    expect((await webhooks())[0].timeoutSeconds).toBe(7);
  });

  // Helm leaves alone what is not labelled as its own: until the upgrade the new Secret would outlive the release.
  it('is upgraded after the operator had to make the Secret anew, and owns it again', async () => {
    await kubectl(['delete', 'secret', CERTIFICATE, '-n', NAMESPACE]);
    const caBundle = Buffer.from(server.credentials.ca).toString('base64');
    const metadata = { name: CERTIFICATE, namespace: NAMESPACE };
    await kubectl(
      ['create', `--as=${OPERATOR}`, '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata, data: certificate() }),
    );
    await helm('upgrade', RELEASE, CHART);
    await expectKept(caBundle);
  });

  /** What there is of the release, but for the CRD, by label and by name. */
  const left = async () => {
    const kinds =
      'deployments,services,secrets,serviceaccounts,roles,rolebindings,poddisruptionbudgets,clusterroles,clusterrolebindings,mutatingwebhookconfigurations';
    const { items } = (await get(kinds, '-A')) as { items: Manifest[] };
    return items.flatMap(({ kind, metadata }) => (metadata.name.includes(RELEASE) ? [`${kind}/${metadata.name}`] : []));
  };

  it('leaves the CRD and the tunnels, and nothing else, when it is uninstalled', async () => {
    expect((await left()).length).toBeGreaterThanOrEqual(12);
    await helm('uninstall', RELEASE);
    expect(await left()).toEqual([]);
    expect((await get('sshtunnels')).items).toHaveLength(1);
    await until('the webhook to be forgotten', async () => (await pod('default', marked)).code === 0);
  });

  it('is installed again under its name; elsewhere it must take the CRD over', async () => {
    await helm('install', RELEASE, CHART);
    await helm('uninstall', RELEASE);
    const other = ['install', 'other', CHART, '--namespace', 'default'];
    const { stderr } = await server.helm(other);
    expect(stderr).toContain('sshtunnels.autossh.dev');
    expect(await server.helm([...other, '--take-ownership'])).toMatchObject({ code: 0 });
    expect((await get('service', 'other-autossh-operator')).spec.selector['app.kubernetes.io/instance']).toBe('other');
    expect(await server.helm(['uninstall', 'other', '--namespace', 'default'])).toMatchObject({ code: 0 });
  });

  it('is there by plain manifests too, applied twice', async () => {
    await kubectl(['delete', 'crd', 'sshtunnels.autossh.dev']);
    const apply = async () => await kubectl(['apply', '--server-side', '-f', INSTALL]);
    await apply();
    const caBundle = await fill();
    await apply();
    await expectKept(caBundle);
    await kubectl(['delete', '-f', INSTALL, '--wait=false']);
    expect(await left()).toEqual([]);
  });
});

type Asked = readonly [verb: string, what: string, namespace?: string];

const ALLOWED: readonly Asked[] = [
  ...['get', 'list', 'watch'].map((verb) => [verb, 'autossh.dev/sshtunnels', 'shop'] as const),
  ['patch', 'autossh.dev/sshtunnels/status', 'shop'],
  ['list', '/pods'],
  ['watch', '/pods'],
  ['patch', '/pods', 'shop'],
  ...['get', 'list', 'watch', 'create', 'patch', 'delete'].map((verb) => [verb, '/configmaps', 'shop'] as const),
  ['create', 'events.k8s.io/events', 'shop'],
  ['patch', 'events.k8s.io/events', 'shop'],
  ...['get', 'list', 'watch', 'patch'].map(
    (verb) => [verb, `admissionregistration.k8s.io/mutatingwebhookconfigurations:${RELEASE}`] as const,
  ),
  ['create', 'coordination.k8s.io/leases', NAMESPACE],
  ['update', 'coordination.k8s.io/leases:any', NAMESPACE],
  ...['get', 'list', 'watch', 'update'].map((verb) => [verb, `/secrets:${CERTIFICATE}`, NAMESPACE] as const),
  ['create', '/secrets', NAMESPACE],
  ['get', '/services:autossh-operator', NAMESPACE],
];

const DENIED: readonly Asked[] = [
  ...['create', 'update', 'patch', 'delete'].map((verb) => [verb, 'autossh.dev/sshtunnels', 'shop'] as const),
  ...['get', 'create', 'update', 'delete'].map((verb) => [verb, '/pods', 'shop'] as const),
  ['patch', '/pods/status', 'shop'],
  ['patch', '/pods/ephemeralcontainers', 'shop'],
  ['create', '/pods/exec', 'shop'],
  ['get', '/pods/log', 'shop'],
  ['get', `/secrets:${CERTIFICATE}`, 'shop'],
  ['get', '/secrets:bastion-key', 'shop'],
  ['list', '/secrets', 'shop'],
  ['list', '/secrets'],
  ['list', '/secrets', NAMESPACE],
  ['get', '/secrets:another', NAMESPACE],
  ['update', '/secrets:another', NAMESPACE],
  ['delete', `/secrets:${CERTIFICATE}`, NAMESPACE],
  ['create', '/secrets', 'shop'],
  ['get', 'coordination.k8s.io/leases:any', 'kube-system'],
  ['get', '/services:any', 'shop'],
  ['patch', 'apps/deployments', 'shop'],
  ['create', 'admissionregistration.k8s.io/mutatingwebhookconfigurations'],
  ['patch', 'admissionregistration.k8s.io/mutatingwebhookconfigurations:another'],
  ['delete', `admissionregistration.k8s.io/mutatingwebhookconfigurations:${RELEASE}`],
  ['create', '/serviceaccounts/token', NAMESPACE],
  ['patch', 'rbac.authorization.k8s.io/clusterroles'],
  ['patch', 'apiextensions.k8s.io/customresourcedefinitions'],
];

/** `what` is GROUP/RESOURCE[/SUBRESOURCE][:NAME]; without a namespace all are meant. */
const review = (verb: string, what: string, namespace = '') => {
  const [path = '', name = ''] = what.split(':');
  const [group, resource, subresource = ''] = path.split('/');
  return {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: OPERATOR,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${NAMESPACE}`, 'system:authenticated'],
      resourceAttributes: { verb, group, resource, subresource, name, namespace },
    },
  };
};
