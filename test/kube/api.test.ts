import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSshTunnel } from '../../src/api/parse.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { type Manifest, manifests } from '../support/manifests.ts';
import { until } from '../support/until.ts';

describe('the CRD on a real API server', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  beforeAll(async () => {
    server = await upApiServer();
    await establishCrd(server);
  });
  afterAll(async () => {
    await server?.down();
  });

  const kubectl = async (...args: string[]) => {
    const { stdout, stderr, code } = await server.kubectl(args);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    return stdout;
  };
  const dryRun = ({ yaml }: Manifest) =>
    server.kubectl(['apply', '--dry-run=server', '-o', 'json', '-f', '-'], { input: yaml });
  const apply = (yaml: string) => server.kubectl(['apply', '-f', '-'], { input: yaml });

  it.each(manifests('accepted').map((one) => [one.name, one] as const))('accepts %s', async (_name, manifest) => {
    const { stdout, stderr, code } = await dryRun(manifest);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    // The API server and parseSshTunnel fill in the same defaults.
    const parsed = parseSshTunnel(manifest.object);
    if (!parsed.ok) throw new Error('refused by parseSshTunnel');
    expect(JSON.parse(stdout).spec).toEqual(JSON.parse(JSON.stringify(parsed.value.spec)));
  });

  it.each(manifests('refused').map((one) => [one.name, one] as const))('refuses %s', async (_name, manifest) => {
    const { stderr, code } = await dryRun(manifest);
    expect(code).toBe(1);
    // 1.30 says "longer than", and no unit.
    const words = stderr.replace(/Too long: may not be longer than (\d+)/, 'Too long: may not be more than $1 bytes');
    expect(words).toContain(manifest.expected);
  });

  const [minimal] = manifests('accepted').filter(({ name }) => name === 'minimal');

  it('keeps the mode as it was made', async () => {
    await apply(minimal?.yaml ?? '');
    const gateway = manifests('accepted').find(({ name }) => name === 'gateway');
    const { stderr, code } = await apply(gateway?.yaml ?? '');
    expect(code).toBe(1);
    expect(stderr).toContain('mode is immutable');
  });

  it('has its columns, its short name and its category', async () => {
    expect((await kubectl('get', 'sshtun')).split('\n')[0]?.split(/ +/)).toEqual([
      'NAME',
      'MODE',
      'HOST',
      'CONNECTED',
      'READY',
      'AGE',
    ]);
    expect((await kubectl('get', 'autossh', '-o', 'wide')).split('\n')[0]).toMatch(/READY +REASON +MESSAGE +AGE/);
    expect(await kubectl('get', 'autossh', '-o', 'name')).toContain('sshtunnel.autossh.dev/orders-db');
  });

  it('takes a status, and leaves it to the status subresource', async () => {
    const patch = {
      status: {
        observedGeneration: 1,
        connected: '1/2',
        pods: { matched: 2, injected: 2, connected: 1, upToDate: 2 },
        conditions: [
          {
            type: 'Ready',
            status: 'False',
            observedGeneration: 1,
            lastTransitionTime: '2026-01-01T00:00:00Z',
            reason: 'AuthFailed',
            message: 'bastion refused the key',
          },
        ],
      },
    };
    await kubectl('patch', 'sshtun', 'orders-db', '--type=merge', '-p', JSON.stringify(patch));
    expect(await kubectl('get', 'sshtun', 'orders-db', '-o', 'jsonpath={.status}')).toBe('');
    await kubectl('patch', 'sshtun', 'orders-db', '--subresource=status', '--type=merge', '-p', JSON.stringify(patch));
    expect(await kubectl('get', 'sshtun')).toMatch(/orders-db +Sidecar +bastion\.example\.com +1\/2 +False/);
    const [stored] = JSON.parse(await kubectl('get', 'sshtun', '-o', 'json')).items;
    expect(parseSshTunnel(stored).ok).toBe(true);
  });

  it('explains itself: every field has a description', async () => {
    const { versions } = JSON.parse(await kubectl('get', 'crd', 'sshtunnels.autossh.dev', '-o', 'json')).spec;
    const fields = versions.flatMap((version: { schema: { openAPIV3Schema: Schema } }) =>
      fieldsOf(version.schema.openAPIV3Schema),
    ) as [string, Schema][];
    expect(fields.length).toBeGreaterThan(50);
    // What every object has is described by the API server itself.
    const common = ['.apiVersion', '.kind', '.metadata', '.metadata.name'];
    const poor = fields.filter(([path, { description = '' }]) => !common.includes(path) && description.length < 10);
    expect(poor.map(([path]) => path)).toEqual([]);
  });

  it('is explained by kubectl, field by field, with type and description', async () => {
    const schema = JSON.parse(await kubectl('get', 'crd', 'sshtunnels.autossh.dev', '-o', 'json')).spec.versions[0]
      .schema.openAPIV3Schema as Schema;
    const { forwards } = schema.properties?.['spec']?.properties ?? {};
    const members = Object.entries(forwards?.items?.properties ?? {});
    expect(members.map(([name]) => name)).toEqual(expect.arrayContaining(['name', 'local', 'remote', 'dynamic']));
    // The server publishes a schema a moment after it has established the definition.
    const published = async () => (await server.kubectl(['explain', 'sshtunnel.spec'])).code === 0;
    await until('the schema to be published', published, { deadlineMs: 60_000, everyMs: 100 });
    const text = await kubectl('explain', 'sshtunnel.spec.forwards');
    const words = (what: string) => what.replace(/\s+/g, ' ').trim();
    expect(text).toMatch(/^FIELD: forwards <\[\]Object>$/m);
    expect(words(text)).toContain(words(forwards?.description ?? 'a description'));
    for (const [name, { type = '', description = '' }] of members) {
      const required = forwards?.items?.required?.includes(name) ? ' -required-' : '';
      const shown = `${name} <${SHOWN[type]}>${required}`;
      // Below it comes its description, perhaps after the values it may have.
      const [, below = ''] = words(text).split(` ${shown} `);
      expect(below.replace(/^enum: [\w, ]+? (?=[A-Z])/, '').slice(0, words(description).length), shown).toBe(
        words(description),
      );
    }
    expect(await kubectl('explain', 'sshtunnel.spec.heartbeat.timeoutSeconds')).toContain('Default: 3.');
  });
});

type Schema = {
  readonly type?: string;
  readonly description?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
};

/** What `kubectl explain` calls the types of a schema. */
const SHOWN: Readonly<Record<string, string>> = {
  object: 'Object',
  string: 'string',
  integer: 'integer',
  boolean: 'boolean',
  array: '[]Object',
};

/** Every field below, however deep, with its path. */
const fieldsOf = (schema: Schema, path = ''): [string, Schema][] => [
  ...Object.entries(schema.properties ?? {}).flatMap(([name, field]): [string, Schema][] => [
    [`${path}.${name}`, field],
    ...fieldsOf(field, `${path}.${name}`),
  ]),
  ...(schema.items ? fieldsOf(schema.items, `${path}[]`) : []),
  ...(typeof schema.additionalProperties === 'object' ? fieldsOf(schema.additionalProperties, `${path}{}`) : []),
];
