import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CHART, NAMESPACE, OPERATOR, RELEASE } from '../support/chart.ts';
import { chartClients } from '../support/chart-clients.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { startDaemon } from '../support/cluster/process.ts';
import { freePort } from '../support/port.ts';
import { until } from '../support/until.ts';

const root = resolve(import.meta.dirname, '../..');
const CERTIFICATE = 'autossh-operator-certificate';

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
  ['get', 'coordination.k8s.io/leases:autossh-operator', NAMESPACE],
  ['update', 'coordination.k8s.io/leases:autossh-operator', NAMESPACE],
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
  ['update', 'coordination.k8s.io/leases:another', NAMESPACE],
  ['get', 'coordination.k8s.io/leases:autossh-operator', 'kube-system'],
  ['get', '/services:any', 'shop'],
  ['patch', 'apps/deployments', 'shop'],
  ['create', 'admissionregistration.k8s.io/mutatingwebhookconfigurations'],
  ['patch', 'admissionregistration.k8s.io/mutatingwebhookconfigurations:another'],
  ['delete', `admissionregistration.k8s.io/mutatingwebhookconfigurations:${RELEASE}`],
  ['create', '/serviceaccounts/token', NAMESPACE],
  ['patch', 'rbac.authorization.k8s.io/clusterroles'],
  ['patch', 'apiextensions.k8s.io/customresourcedefinitions'],
];

let server: Awaited<ReturnType<typeof upApiServer>>;
const { kubectl, helm, makeNamespace } = chartClients(() => server);
beforeAll(async () => {
  server = await upApiServer();
  await makeNamespace();
  await helm('install', RELEASE, CHART);
});
afterAll(async () => {
  await server?.down();
});

/** What the API server says to each question. */
const answers = async (asked: readonly Asked[]): Promise<boolean[]> => {
  const items = asked.map((one) => review(...one));
  const text = await kubectl(
    ['create', '-o', 'jsonpath={.status.allowed}{"\\n"}', '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
  );
  return text
    .trim()
    .split('\n')
    .map((allowed) => allowed === 'true');
};
const refusedOf = (asked: readonly Asked[], allowed: readonly boolean[]) => asked.filter((_, index) => !allowed[index]);

it('gives the operator its rights, and no more', async () => {
  // The API server judges by its own memory of roles, which follows what was written.
  let refused: readonly Asked[] = ALLOWED;
  const given = async () => {
    refused = refusedOf(ALLOWED, await answers(ALLOWED));
    return refused.length === 0;
  };
  await until('the rights', given, { deadlineMs: 60_000, everyMs: 200, state: () => JSON.stringify(refused) });
  expect(refusedOf(DENIED, await answers(DENIED))).toEqual(DENIED);
});

it('gives rights that are enough for the controller, and flags that it knows', async () => {
  const get = async (...args: string[]) => JSON.parse(await kubectl(['get', ...args, '-o', 'json']));
  const config = join(server.dir, 'operator.kubeconfig');
  const token = (await kubectl(['create', 'token', RELEASE, '-n', NAMESPACE])).trim();
  writeFileSync(config, JSON.stringify(kubeconfig(server.credentials, token)), { mode: 0o600 });
  const [container] = (await get('deployment', RELEASE, '-n', NAMESPACE)).spec.template.spec.containers;
  const ports = await Promise.all(
    ['webhook', 'health', 'metrics'].map(async (name) => `--${name}-port=${await freePort('127.0.0.1')}`),
  );
  const program = resolve(root, 'dist/autossh-operator.cjs');
  const logFile = join(server.dir, 'controller.log');
  const daemon = startDaemon('controller', {
    argv: [process.execPath, program, 'controller', ...container.args, ...ports],
    logFile,
    env: { PATH: process.env['PATH'], KUBECONFIG: config, POD_NAME: 'controller', POD_NAMESPACE: NAMESPACE },
  });
  try {
    const state = () => daemon.logTail();
    const options = { deadlineMs: 120_000, everyMs: 200, state };
    const caBundle = async () => (await get('mutatingwebhookconfiguration', RELEASE)).webhooks[0].clientConfig.caBundle;
    await until('the caBundle', caBundle, options);
    expect(Object.keys((await get('secret', CERTIFICATE, '-n', NAMESPACE)).data)).toContain('tls.crt');
    const lease = async () => (await server.kubectl(['get', 'lease', RELEASE, '-n', NAMESPACE])).code === 0;
    await until('the lease', lease, options);
    await kubectl(['apply', '-f', resolve(root, 'deploy/samples/known-hosts.yaml')]);
    await kubectl(['apply', '-f', resolve(root, 'deploy/samples/tunnel.yaml')]);
    const accepted = ['wait', '--for=condition=Accepted', '--timeout=60s', 'sshtunnel/orders-db'];
    await until('the tunnel to be accepted', async () => (await server.kubectl(accepted)).code === 0, options);
    await kubectl(['get', 'configmap', 'orders-db-autossh']);
    // A ConfigMap in the way is refused, with an event.
    await kubectl(['create', 'configmap', 'taken-autossh']);
    const { metadata: _, status: __, ...sample } = await get('sshtunnel', 'orders-db');
    await kubectl(['apply', '-f', '-'], JSON.stringify({ ...sample, metadata: { name: 'taken' } }));
    const event = async () => (await get('events')).items.find((one: Event) => one.involvedObject.name === 'taken');
    expect(await until('the event', event, options)).toMatchObject({ involvedObject: { kind: 'SshTunnel' } });
    await daemon.stop();
  } finally {
    await daemon.kill();
  }
  expect(readFileSync(logFile, 'utf8')).not.toMatch(/forbidden|"code":403/i);
});

type Event = { involvedObject: { name: string } };

const kubeconfig = ({ server, ca }: { server: string; ca: string }, token: string) => ({
  apiVersion: 'v1',
  kind: 'Config',
  'current-context': 'operator',
  contexts: [{ name: 'operator', context: { cluster: 'test', user: 'operator' } }],
  clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
  users: [{ name: 'operator', user: { token } }],
});

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
