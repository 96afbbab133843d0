import { afterAll, beforeAll, expect, it } from 'vitest';
import { CHART, NAMESPACE, OPERATOR, RELEASE } from '../support/chart.ts';
import { chartClients } from '../support/chart-clients.ts';
import { upApiServer } from '../support/cluster/index.ts';

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
