import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { containerName, INJECT_LABEL, TUNNEL_ANNOTATION_PREFIX } from '../../src/api/names.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { CRD, establishCrd } from '../support/kube/crd.ts';
import { type LogLine, type Operator, startOperator, sumOf, writeKubeconfig } from '../support/kube/operator.ts';
import { itWith } from '../support/needs.ts';
import { freePort } from '../support/port.ts';
import { metricsProblems, promtoolMissing } from '../support/promtool.ts';
import { tunnelOf } from '../support/tunnels.ts';
import { until } from '../support/until.ts';

const PATIENT = { deadlineMs: 60_000, everyMs: 100 };

describe('the operator, started where something is wrong', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  beforeAll(async () => {
    server = await upApiServer();
  });
  afterAll(async () => {
    await server?.down();
  });

  const kubectl = async (args: readonly string[], input?: object): Promise<string> => {
    const { code, stdout, stderr } = await server.kubectl(args, input ? { input: JSON.stringify(input) } : {});
    // A test's second try finds what its first one made.
    if (args[0] === 'create' && stderr.includes('(AlreadyExists)')) return stdout;
    expect(`${code} ${stderr}`, `kubectl ${args.join(' ')}`).toBe('0 ');
    return stdout;
  };
  const applyCrd = () => establishCrd(server, '--server-side', '--force-conflicts');
  const tunnel = (name: string, namespace: string, spec: unknown = tunnelOf().spec) => ({
    ...{ apiVersion: 'autossh.dev/v1alpha1', kind: 'SshTunnel', metadata: { name, namespace }, spec },
  });
  type Condition = { type: string; status: string; reason: string; message: string };
  const accepted = async (name: string, namespace: string) =>
    (
      JSON.parse(await kubectl(['get', 'sshtunnel', name, '-n', namespace, '-o', 'json'])).status?.conditions ?? []
    ).find(({ type }: Condition) => type === 'Accepted') as Condition | undefined;
  const start = async <T>(name: string, kubeconfig: string | undefined, use: (operator: Operator) => Promise<T>) => {
    const operator = await startOperator({ server, kubeconfig, namespace: name, name });
    try {
      const result = await use(operator);
      isReadable(operator);
      return result;
    } finally {
      await operator.daemon.kill();
    }
  };
  const file = (name: string, text: string): string => {
    const path = join(server.dir, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  /** A kubeconfig of a service account of this namespace that may do this, everywhere. */
  const onlyWith = async (name: string, rules: readonly object[]): Promise<string> => {
    const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name } };
    await kubectl(['create', 'serviceaccount', 'operator', '-n', name]);
    await kubectl(['create', '-f', '-'], { ...rbac, kind: 'ClusterRole', rules });
    await kubectl(['create', '-f', '-'], {
      ...{ ...rbac, kind: 'ClusterRoleBinding' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name: 'operator', namespace: name }],
    });
    const token = (await kubectl(['create', 'token', 'operator', '-n', name])).trim();
    const { server: url, ca } = server.credentials;
    return writeKubeconfig(join(server.dir, name), { server: url, ca, user: { token } });
  };
  type Event = { involvedObject: { name: string }; reason: string; message: string };
  const eventOf = async (name: string, namespace: string, reason: string, message = /^/) =>
    (JSON.parse(await kubectl(['get', 'events', '-n', namespace, '-o', 'json'])).items as Event[]).find(
      (one) => one.involvedObject.name === name && one.reason === reason && message.test(one.message),
    );
  const line = (operator: Operator, what: string, is: (line: LogLine) => unknown) =>
    until(what, () => operator.lines().find(is), { ...PATIENT, state: () => operator.daemon.logTail() });

  describe.each<[string, () => string | undefined, RegExp]>([
    [
      'a kubeconfig that is junk',
      () => file('junk', 'users:\n- user: {token: s3cret}}\n'),
      /expected a readable kubeconfig at \/.*\/junk; got: /,
    ],
    [
      'a kubeconfig that is something else',
      () => file('else', 'hello'),
      /expected a current context in \/.*\/else; got null/,
    ],
    [
      'a kubeconfig that is not there',
      () => join(server.dir, 'missing'),
      /expected a readable kubeconfig at \/.*\/missing; got: .*ENOENT/,
    ],
    [
      'a kubeconfig without the context it names',
      () =>
        file('no-context', JSON.stringify({ apiVersion: 'v1', kind: 'Config', clusters: [], 'current-context': 'x' })),
      /expected a current context in \/.*\/no-context; got "x"/,
    ],
    [
      'no cluster at all',
      () => undefined,
      /expected KUBECONFIG, a pod with a service account token .*; got none of them/,
    ],
  ])('%s', (name, kubeconfig, expected) => {
    it('ends with one line that says what was expected', async () => {
      await start(name.replaceAll(' ', '-'), kubeconfig(), async (operator) => {
        await until('the end', () => !operator.daemon.running(), PATIENT);
        expect(operator.daemon.exitCode()).toBe(1);
        const lines = operator.lines();
        expect(lines).toHaveLength(1);
        expect(lines[0]).toMatchObject({ level: 'error', msg: 'ended by an error' });
        expect(lines[0]?.error).toMatch(expected);
        expect(operator.text()).not.toContain('s3cret');
      });
    });
  });

  /** What the metrics of those that wait looked like. */
  const expositions: string[] = [];
  /** It stays, says it again only after longer and longer waits, and asks the server hardly more often. */
  const waitsPatiently = async (operator: Operator, code: string, expected: RegExp) => {
    const preparing = () => operator.lines().filter(({ msg }) => msg.startsWith('could not prepare the webhook'));
    const tries = await until('three tries', () => preparing().length >= 3 && preparing(), PATIENT);
    expect(tries[0]?.error).toMatch(expected);
    expect(tries.slice(0, 3).map(({ waitMs }) => waitMs)).toEqual([500, 1000, 2000]);
    expect(operator.daemon.running()).toBe(true);
    expect([await operator.health('/healthz'), await operator.health('/readyz')]).toEqual([200, 503]);
    expositions.push(await operator.exposition());
    const samples = await operator.metrics();
    expect(sumOf(samples, 'rest_client_requests_total', { code })).toBeGreaterThan(0);
    expect(sumOf(samples, 'rest_client_requests_total')).toBeLessThan(100);
  };

  it('waits for a server that is not there', async () => {
    const port = await freePort('127.0.0.1');
    const config = writeKubeconfig(join(server.dir, 'nobody'), { server: `https://127.0.0.1:${port}`, user: {} });
    await start('nobody', config, async (operator) => {
      await waitsPatiently(operator, '<error>', /ECONNREFUSED/);
      // Told to end, it does not wait for the server first.
      await operator.daemon.stop();
      expect(operator.daemon.exitCode()).toBe(0);
    });
  });

  it('waits while its credentials are refused, and takes new ones from the file', async () => {
    const path = join(server.dir, 'expired');
    const { server: url, ca } = server.credentials;
    writeKubeconfig(path, { server: url, ca, user: { token: 'expired' } });
    await kubectl(['create', 'namespace', 'expired']);
    await start('expired', path, async (operator) => {
      await waitsPatiently(operator, '401', /401 Unauthorized/);
      expect(operator.text()).not.toContain('"expired"');
      writeFileSync(path, readFileSync(server.kubeconfig));
      await line(operator, 'the certificate', ({ msg }) => msg === 'certificate renewed');
    });
  });

  itWith(promtoolMissing)('shows metrics that promtool has nothing against while it waits', () => {
    expect(expositions.map(metricsProblems)).toEqual(['', '']);
  });

  it('waits for the CRD, says so, and goes on when it comes', async () => {
    await kubectl(['create', 'namespace', 'no-crd']);
    await start('no-crd', server.kubeconfig, async (operator) => {
      const said = await line(operator, 'a word', ({ msg }) => msg.startsWith('the server does not know sshtunnels'));
      expect(said).toMatchObject({ level: 'warn', reason: 'NotFound' });
      expect(said.msg).toBe('the server does not know sshtunnels of autossh.dev/v1alpha1: waiting for its definition');
      await line(operator, 'it to lead', ({ msg }) => msg === 'leading');
      expect(await operator.health('/readyz')).toBe(503);
      // Of the queue too, whose gauges of work under way are set when they are asked for.
      const queue = 'workqueue_longest_running_processor_seconds{name="sshtunnel",controller="sshtunnel"}';
      await until(queue, async () => (await operator.metrics()).has(queue), {
        ...PATIENT,
        state: () => operator.daemon.logTail(),
      });
      const samples = await operator.metrics();
      expect(sumOf(samples, 'workqueue_unfinished_work_seconds', { name: 'sshtunnel' })).toBe(0);
      expect(samples.get('controller_runtime_reconcile_panics_total{controller="sshtunnel"}')).toBe(0);
      const labels = { resource: 'sshtunnels', reason: 'NotFound' };
      expect(sumOf(samples, 'kube_reflector_errors_total', labels)).toBeGreaterThan(0);
      await applyCrd();
      await kubectl(['create', '-f', '-'], tunnel('late', 'no-crd'));
      await until('the tunnel', async () => (await accepted('late', 'no-crd'))?.status === 'True', {
        ...PATIENT,
        state: () => operator.daemon.logTail(),
      });
      const ready = async () => (await operator.health('/readyz')) === 200;
      await until('it to be ready', ready, { ...PATIENT, state: () => operator.daemon.logTail() });
    });
  });

  it('names the permission that is missing, and serves everybody else', async () => {
    await applyCrd();
    const everywhere = [
      { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: ['autossh.dev'], resources: ['sshtunnels', 'sshtunnels/status'], verbs: ['*'] },
      { apiGroups: ['coordination.k8s.io', 'events.k8s.io'], resources: ['leases', 'events'], verbs: ['*'] },
      { apiGroups: [''], resources: ['secrets'], verbs: ['*'] },
      { apiGroups: ['admissionregistration.k8s.io'], resources: ['*'], verbs: ['*'] },
    ];
    const grant = async (name: string, rules: readonly object[], namespace?: string) => {
      const prefix = namespace === undefined ? 'Cluster' : '';
      const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
      const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata };
      await kubectl(['create', '-f', '-'], { ...rbac, kind: `${prefix}Role`, rules });
      await kubectl(['create', '-f', '-'], {
        ...rbac,
        kind: `${prefix}RoleBinding`,
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: `${prefix}Role`, name },
        subjects: [{ kind: 'ServiceAccount', name: 'operator', namespace: 'rights' }],
      });
    };
    for (const name of ['rights', 'open', 'closed']) await kubectl(['create', 'namespace', name]);
    await kubectl(['create', 'serviceaccount', 'operator', '-n', 'rights']);
    await grant('operator', everywhere);
    await grant('writer', [{ apiGroups: [''], resources: ['configmaps'], verbs: ['patch', 'create'] }], 'open');
    const token = (await kubectl(['create', 'token', 'operator', '-n', 'rights'])).trim();
    const { server: url, ca } = server.credentials;
    const config = writeKubeconfig(join(server.dir, 'rights'), { server: url, ca, user: { token } });
    await kubectl(['create', '-f', '-'], tunnel('shut', 'closed'));
    await start('rights', config, async (operator) => {
      const pods = await line(operator, 'a word on pods', ({ msg }) => msg.startsWith('may not list or watch pods'));
      expect(pods.error).toMatch(/cannot list resource "pods" in API group "" at the cluster scope/);
      const labels = { resource: 'pods', reason: 'Forbidden' };
      expect(sumOf(await operator.metrics(), 'kube_reflector_errors_total', labels)).toBeGreaterThan(0);
      await grant('pods', [{ apiGroups: [''], resources: ['pods'], verbs: ['list', 'watch', 'patch'] }]);

      const refusal = /cannot patch resource "configmaps" in API group "" in the namespace "closed"/;
      const failed = await line(
        operator,
        'a word on closed',
        ({ msg, error = '' }) => msg === 'reconcile failed' && refusal.test(error),
      );
      expect(failed).toMatchObject({ level: 'warn', key: 'closed/shut', controller: 'sshtunnel' });
      const told = await until('the status to say so', () => accepted('shut', 'closed'), PATIENT);
      expect(told).toMatchObject({ status: 'False', reason: 'Forbidden' });
      expect(told.message).toMatch(refusal);
      await kubectl(['create', '-f', '-'], tunnel('fine', 'open'));
      const state = () => operator.daemon.logTail();
      const served = async () => (await accepted('fine', 'open'))?.status === 'True';
      await until('the other tunnel', served, { ...PATIENT, state });
      const samples = await operator.metrics();
      expect(sumOf(samples, 'rest_client_requests_total', { code: '403', method: 'PATCH' })).toBeGreaterThan(0);
      expect(sumOf(samples, 'controller_runtime_reconcile_errors_total', { controller: 'sshtunnel' })).toBeGreaterThan(
        0,
      );
      expect(operator.text()).not.toContain(token);

      await grant(
        'late-writer',
        [{ apiGroups: [''], resources: ['configmaps'], verbs: ['patch', 'create'] }],
        'closed',
      );
      const granted = async () => (await accepted('shut', 'closed'))?.status === 'True';
      await until('the tunnel with its permission', granted, { ...PATIENT, state });
    });
  });

  it('serves tunnels although it may not keep its certificate, and says so', async () => {
    await applyCrd();
    await kubectl(['create', 'namespace', 'no-secrets']);
    const config = await onlyWith('no-secrets', [
      { apiGroups: [''], resources: ['configmaps', 'pods'], verbs: ['*'] },
      { apiGroups: ['autossh.dev', 'coordination.k8s.io', 'events.k8s.io'], resources: ['*'], verbs: ['*'] },
    ]);
    await kubectl(['create', '-f', '-'], tunnel('fine', 'no-secrets'));
    await start('no-secrets', config, async (operator) => {
      const said = await line(operator, 'a word', ({ msg }) => msg.startsWith('could not prepare the webhook'));
      expect(said.error).toMatch(/cannot get resource "secrets" in API group "" in the namespace "no-secrets"/);
      const served = async () => (await accepted('fine', 'no-secrets'))?.status === 'True';
      await until('the tunnel', served, { ...PATIENT, state: () => operator.daemon.logTail() });
      const labels = { reason: 'Forbidden' };
      expect(sumOf(await operator.metrics(), 'kube_certificate_errors_total', labels)).toBeGreaterThan(0);
      // No admission request may come to it.
      expect(await operator.health('/readyz')).toBe(503);
      await operator.daemon.stop();
      expect(operator.daemon.exitCode()).toBe(0);
    });
  });

  it('answers the webhook although it may not keep a lease, and names the permission', async () => {
    await applyCrd();
    await kubectl(['create', 'namespace', 'no-leases']);
    const config = await onlyWith('no-leases', [
      { apiGroups: [''], resources: ['configmaps', 'pods', 'secrets'], verbs: ['*'] },
      { apiGroups: ['autossh.dev', 'events.k8s.io', 'admissionregistration.k8s.io'], resources: ['*'], verbs: ['*'] },
    ]);
    await start('no-leases', config, async (operator) => {
      const said = await line(operator, 'a word', ({ msg }) => msg === 'lease not renewed');
      expect(said).toMatchObject({ level: 'error', lease: 'no-leases/autossh-operator' });
      expect(said.error).toMatch(/cannot get resource "leases" in API group "coordination.k8s.io" in the namespace/);
      const ready = async () => (await operator.health('/readyz')) === 200;
      await until('it to be ready', ready, { ...PATIENT, state: () => operator.daemon.logTail() });
      const samples = await operator.metrics();
      expect(sumOf(samples, 'leader_election_master_status')).toBe(0);
      expect(sumOf(samples, 'rest_client_requests_total', { code: '403', method: 'GET' })).toBeGreaterThan(0);
      await operator.daemon.stop();
      expect(operator.daemon.exitCode()).toBe(0);
    });
  });

  it('tells in an event of what it may not write where the status cannot say it: a status, or the mark on a pod', async () => {
    await applyCrd();
    await kubectl(['create', 'namespace', 'mute']);
    const all = { verbs: ['*'] };
    const rules = [
      { ...all, apiGroups: [''], resources: ['configmaps', 'secrets'] },
      { ...all, apiGroups: ['coordination.k8s.io', 'events.k8s.io', 'admissionregistration.k8s.io'], resources: ['*'] },
      { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
      { ...all, apiGroups: ['autossh.dev'], resources: ['sshtunnels'] },
    ];
    const config = await onlyWith('mute', rules);
    await kubectl(['create', '-f', '-'], tunnel('marked', 'mute'));
    await kubectl(['create', '-f', '-'], {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: {
        ...{ name: 'app', namespace: 'mute', labels: { [INJECT_LABEL]: 'true' } },
        annotations: { [`${TUNNEL_ANNOTATION_PREFIX}marked`]: '' },
      },
      spec: {
        initContainers: [{ name: containerName('marked'), image: 'any', restartPolicy: 'Always' }],
        containers: [{ name: 'app', image: 'any' }],
      },
    });
    await start('mute', config, async (operator) => {
      const state = () => operator.daemon.logTail();
      const told = (expected: RegExp) =>
        until(`an event like ${expected}`, () => eventOf('marked', 'mute', 'Forbidden', expected), {
          ...PATIENT,
          state,
        });
      await told(/cannot patch resource "sshtunnels\/status" in API group "autossh.dev" in the namespace "mute"/);
      await told(/cannot patch resource "pods" in API group "" in the namespace "mute"/);
    });
  });

  it('says what is wrong with a tunnel that an older schema let in, and serves the others', async () => {
    await applyCrd();
    await kubectl(['create', 'namespace', 'old']);
    const now = parse(readFileSync(CRD, 'utf8'));
    const old = structuredClone(now);
    const { properties } = old.spec.versions[0].schema.openAPIV3Schema;
    old.spec.versions[0].schema.openAPIV3Schema = {
      type: 'object',
      properties: { spec: { 'x-kubernetes-preserve-unknown-fields': true }, status: properties.status },
    };
    const { spec } = tunnelOf();
    /** Of the shape that the rules of the schema need, so that the API server takes a status; of `text` and `list` it takes none. */
    const hopeless = ['list', 'text'];
    const bad: Readonly<Record<string, [unknown, RegExp]>> = {
      type: [{ ...spec, ssh: { ...spec.ssh, port: 'ssh' } }, /spec\.ssh\.port/],
      list: [{ ...spec, forwards: { postgres: {} } }, /spec\.forwards/],
      host: [{ ...spec, ssh: { ...spec.ssh, host: '-oProxyCommand=x' } }, /spec\.ssh\.host/],
      text: ['bastion.example.com', /spec/],
      none: [null, /spec/],
    };
    await kubectl(['replace', '-f', '-'], old);
    for (const [name, [wrong]] of Object.entries(bad))
      await until(
        `${name} to be let in`,
        async () =>
          (await server.kubectl(['apply', '-f', '-'], { input: JSON.stringify(tunnel(name, 'old', wrong)) })).code ===
          0,
        PATIENT,
      );
    await applyCrd();
    const strict = tunnel('probe', 'old', bad['list']?.[0]);
    const isRefused = async () =>
      (await server.kubectl(['create', '--dry-run=server', '-f', '-'], { input: JSON.stringify(strict) })).code !== 0;
    await until('the schema of now to be in force', isRefused, PATIENT);
    await start('old', server.kubeconfig, async (operator) => {
      await kubectl(['create', '-f', '-'], tunnel('good', 'old'));
      const state = () => operator.daemon.logTail();
      const served = async () => (await accepted('good', 'old'))?.status === 'True';
      await until('the good one', served, { ...PATIENT, state });
      for (const [name, [, expected]] of Object.entries(bad)) {
        const isHopeless = hopeless.includes(name);
        const look = (): Promise<Event | Condition | undefined> =>
          isHopeless ? eventOf(name, 'old', 'Invalid') : accepted(name, 'old');
        const verdict = await until(`the verdict on ${name}`, look, { ...PATIENT, state });
        expect(verdict.reason).toBe('Invalid');
        if (!isHopeless) expect(verdict).toMatchObject({ status: 'False' });
        expect(verdict.message).toMatch(expected);
        const refused = () =>
          operator.lines().filter(({ msg, key }) => msg === 'tunnel refused' && key === `old/${name}`);
        const [said] = await until(`a line about ${name}`, () => refused().length > 0 && refused(), {
          ...PATIENT,
          state,
        });
        expect(said).toMatchObject({ level: 'warn', reason: 'Invalid', controller: 'sshtunnel' });
        expect(said?.['message']).toMatch(expected);
      }
      const count = async () =>
        sumOf(await operator.metrics(), 'autossh_operator_refused_tunnels', { reason: 'Invalid' });
      expect(await count()).toBe(Object.keys(bad).length);
      // The hopeless fail again and again: no reason to say it again.
      const failures = () =>
        operator.lines().filter(({ msg, key }) => msg === 'reconcile failed' && key === 'old/list').length;
      await until('further failures', () => failures() > 2, { ...PATIENT, state });
      expect(operator.lines().filter(({ msg }) => msg === 'tunnel refused')).toHaveLength(Object.keys(bad).length);
      // Neither a tunnel that is mended nor one that is deleted counts any longer.
      await kubectl(['replace', '-f', '-'], tunnel('type', 'old'));
      await kubectl(['delete', 'sshtunnel', 'list', '-n', 'old']);
      await until('the rest', async () => (await count()) === Object.keys(bad).length - 2, { ...PATIENT, state });
    });
  });
});

/** Every line is one JSON object, and none carries a stack trace or a line break. */
const isReadable = (operator: Operator): void => {
  for (const one of operator.lines()) {
    expect(one.msg).toBeTruthy();
    expect(JSON.stringify(one)).not.toMatch(/\\n|\bat .*(\.cjs|\.ts|node:)/);
  }
};
