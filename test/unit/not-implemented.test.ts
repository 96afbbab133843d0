import { describe, expect, it } from 'vitest';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { parseSshTunnel } from '../../src/api/parse.ts';
import { judgeTunnel } from '../../src/operator/judge-tunnel.ts';
import { planOf } from '../../src/operator/tunnel-plan.ts';
import { manifests } from '../support/manifests.ts';
import { inject, podAsking } from '../support/pods.ts';
import { tunnelOf } from '../support/tunnels.ts';

type Schema = { type?: string; enum?: string[]; properties?: Record<string, Schema>; items?: Schema };
type Json = Record<string, unknown>;
/** `spec.forwards[].name`, and what may be there. */
type Field = readonly [path: string, schema: Schema];

const fieldsOf = (schema: Schema, path: string): Field[] => {
  if (schema.properties)
    return Object.entries(schema.properties).flatMap(([name, member]) => fieldsOf(member, `${path}.${name}`));
  return schema.items?.properties ? fieldsOf(schema.items, `${path}[]`) : [[path, schema]];
};

/** For every place where a specification has the field: the same specification with another value there, and with none. */
const variantsOf = (spec: unknown, [path, schema]: Field): unknown[] => {
  const change = (value: unknown, [step, ...rest]: string[]): unknown[] => {
    if (value === undefined) return [];
    if (step === undefined) return [...othersThan(value, schema), undefined];
    if (step !== '[]')
      return change((value as Json)[step], rest).map((changed) => ({ ...(value as Json), [step]: changed }));
    const list = value as unknown[];
    return list.flatMap((item, index) => change(item, rest).map((changed) => list.with(index, changed)));
  };
  return change(spec, path.replaceAll('[]', '.[]').split('.').slice(1)).map((one) => JSON.parse(JSON.stringify(one)));
};

const othersThan = (value: unknown, schema: Schema): unknown[] => {
  if (schema.enum) return schema.enum.filter((one) => one !== value);
  if (typeof value === 'boolean') return [!value];
  if (typeof value === 'number') return [value + 1, value - 1];
  if (typeof value === 'string') return [`${value}1`];
  return Array.isArray(value) ? [[...value, 599]] : [{ cpu: '77m' }, { AUTOSSH_POLL: '77' }];
};

const [version] = customResourceDefinition().spec.versions;
const root = version?.schema.openAPIV3Schema as Schema;
const FIELDS = fieldsOf(root.properties?.['spec'] ?? {}, 'spec');

/** What the table of manifests has not. */
const login = { identity: { secretRef: { name: 'k', key: 'k', passphraseKey: 'p', certificateKey: 'c' } } };
const options = {
  ...{ compression: true, connectTimeoutSeconds: 7, serverAliveIntervalSeconds: 7, serverAliveCountMax: 7 },
  ...{ addressFamily: 'IPv4', hostKeyAlgorithms: 'a', pubkeyAcceptedAlgorithms: 'b', kexAlgorithms: 'c' },
  ...{ ciphers: 'd', macs: 'e' },
};
const withKnownHosts = (knownHosts: object) =>
  tunnelOf({ ssh: { ...login, knownHosts, jumpHosts: [{ host: 'hop', ...login, knownHosts, options }] } }).spec;
const place = { host: '127.0.0.1', port: 1234 };
const SPECS: readonly unknown[] = [
  ...manifests('accepted').map(({ object }) => (object as { spec: unknown }).spec),
  withKnownHosts({ configMapRef: { name: 'hosts', key: 'hosts' } }),
  withKnownHosts({ secretRef: { name: 'hosts', key: 'hosts' } }),
  tunnelOf({
    forwards: [
      { name: 'r', remote: { listen: place, target: { host: 'app', port: 1 } } },
      { name: 'd', dynamic: { listen: place } },
    ],
  }).spec,
  tunnelOf({
    mode: 'Gateway',
    gateway: { allowFrom: [{ podSelector: {} }], resources: { requests: { cpu: '1m' } }, runAsUser: 1234 },
  }).spec,
];

const objectWith = (spec: unknown) => {
  const { apiVersion, kind } = tunnelOf();
  return { apiVersion, kind, metadata: { name: 'orders-db', namespace: 'shop', generation: 1 }, spec };
};

/** All that comes of a tunnel: its ConfigMap, and a pod that asks for it; or why not. Null: the schema does not let it in. */
const outcomeOf = (spec: unknown): string | null => {
  const tunnel = objectWith(spec);
  if (!parseSshTunnel(tunnel).ok) return null;
  const pod = podAsking(['orders-db'], { initContainers: [{ name: 'mesh', restartPolicy: 'Always' }] });
  return JSON.stringify([planOf(tunnel), inject(pod, new Map([['orders-db', tunnel]]))]);
};

const hasEffect = (field: Field): boolean =>
  SPECS.some((spec) => {
    const before = outcomeOf(spec);
    return variantsOf(spec, field).some((variant) => {
      const after = outcomeOf(variant);
      return after !== null && after !== before;
    });
  });

/** Whoever uses the field is refused, by the controller and by the webhook. */
const isRefused = (field: Field): boolean => {
  const users = SPECS.filter((spec) => variantsOf(spec, field).length > 0).map(objectWith);
  return (
    users.length > 0 &&
    users.every(
      (tunnel) => planOf(tunnel).refusal?.reason === 'NotImplemented' && !judgeTunnel('orders-db', 'shop', tunnel).ok,
    )
  );
};

/** No other value can be given alone, or what it decides about is refused. */
const TIED = [
  // With it comes or goes spec.gateway.
  'spec.mode',
  // Exactly one member of knownHosts is given.
  'spec.ssh.knownHosts.insecureSkipVerify',
  'spec.ssh.jumpHosts[].knownHosts.insecureSkipVerify',
  // The rule about dynamic forwards lets none in.
  'spec.forwards[].dynamic.listen.path',
  // Must be the name of a forward.
  'spec.heartbeat.forward',
  // Only of spec.workloads.
  'spec.sidecar.rolloutStrategy',
];

describe('what a specification may ask for', () => {
  it('has an effect or is refused in words, field by field', () => {
    expect(FIELDS.length).toBeGreaterThan(90);
    const silent = FIELDS.filter((field) => !hasEffect(field) && !isRefused(field)).map(([path]) => path);
    expect(silent).toEqual(TIED);
  });

  it.each<[string, Json, string]>([
    [
      'a gateway',
      { mode: 'Gateway', gateway: { allowFrom: [{ podSelector: {} }] } },
      'This version cannot do yet: spec.mode: Gateway.',
    ],
    [
      'workloads to mark',
      { workloads: [{ kind: 'Deployment', name: 'shop' }] },
      'This version cannot do yet: spec.workloads (mark the pod templates yourself).',
    ],
  ])('is refused where it is %s', (_, spec, message) => {
    expect(planOf(objectWith(tunnelOf(spec).spec)).refusal).toEqual({ reason: 'NotImplemented', message });
  });

  it('refuses no more than that', () => {
    expect(planOf(objectWith(tunnelOf({ workloads: [] }).spec)).refusal).toBe(null);
  });
});
