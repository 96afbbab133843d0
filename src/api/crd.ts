import * as z from 'zod';
import { CATEGORIES, GROUP, KIND, MAX_TUNNEL_NAME, PLURAL, SHORT_NAMES, SINGULAR, VERSION } from './names.ts';
import { VALIDATIONS } from './rule.ts';
import { specSchema, sshTunnelSchema } from './ssh-tunnel.ts';
import { statusSchema } from './status.ts';

type Json = Readonly<Record<string, unknown>>;

/** The CustomResourceDefinition, made from the schema; `npm run generate` writes it as YAML. */
export const customResourceDefinition = () => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${PLURAL}.${GROUP}` },
  spec: {
    group: GROUP,
    names: {
      kind: KIND,
      listKind: `${KIND}List`,
      plural: PLURAL,
      singular: SINGULAR,
      shortNames: SHORT_NAMES,
      categories: CATEGORIES,
    },
    scope: 'Namespaced',
    versions: [
      {
        name: VERSION,
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: COLUMNS,
        schema: { openAPIV3Schema: rootSchema() },
      },
    ],
  },
});

const ready = (part: string) => `.status.conditions[?(@.type=="Ready")].${part}`;
const COLUMNS = [
  { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
  { name: 'Host', type: 'string', jsonPath: '.spec.ssh.host' },
  { name: 'Connected', type: 'string', jsonPath: '.status.connected', description: 'Pods connected of pods.' },
  { name: 'Ready', type: 'string', jsonPath: ready('status') },
  { name: 'Reason', type: 'string', jsonPath: ready('reason'), priority: 1 },
  { name: 'Message', type: 'string', jsonPath: ready('message'), priority: 1 },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
];

const rootSchema = (): Json => {
  const { description, [VALIDATIONS]: rules } = z.globalRegistry.get(sshTunnelSchema) ?? {};
  return {
    description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string', description: 'Version of the schema, as in every object.' },
      kind: { type: 'string', description: 'Kind, as in every object.' },
      metadata: { type: 'object', properties: { name: { type: 'string', maxLength: MAX_TUNNEL_NAME } } },
      spec: structural(jsonSchema(specSchema)),
      status: structural(jsonSchema(statusSchema)),
    },
    [VALIDATIONS]: rules,
  };
};

const jsonSchema = (schema: z.ZodType): Json =>
  z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', reused: 'inline' });

/** zod says what an integer can be in JavaScript; a CRD needs no word about that. */
const SAFE = [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];

/**
 * A structural schema, as CRDs must have: no `additionalProperties: false` (the API server refuses or prunes unknown fields by itself),
 * no `propertyNames`, no types inside anyOf, and a list type on every list.
 */
const structural = (schema: Json): Json => {
  const { $schema, additionalProperties, propertyNames, properties, items, anyOf, description, type, ...rest } = schema;
  const out: Record<string, unknown> = { description, type, ...rest };
  for (const absent of ['description', 'type']) if (out[absent] === undefined) delete out[absent];
  for (const bound of ['minimum', 'maximum']) if (SAFE.includes(out[bound] as number)) delete out[bound];
  if (out['x-kubernetes-int-or-string'] === true) {
    out['anyOf'] = [{ type: 'integer' }, { type: 'string' }];
    out['maxLength'] = 64;
    out['pattern'] = (anyOf as Json[]).find(({ type }) => type === 'string')?.['pattern'];
  }
  if (out['type'] === 'array') out['x-kubernetes-list-type'] ??= 'atomic';
  if (items) out['items'] = structural(items as Json);
  if (properties)
    out['properties'] = Object.fromEntries(
      Object.entries(properties).map(([name, member]) => [name, structural(member as Json)]),
    );
  else if (isSchema(additionalProperties)) out['additionalProperties'] = structural(additionalProperties);
  if (isSchema(out['properties']) && isEmpty(out['default'])) out['default'] = defaultsOf(out['properties']);
  return out;
};

/** The default of an object is judged by the object's CEL rules as it stands, before its members get theirs: so it has them all. */
const defaultsOf = (properties: Json): Json =>
  Object.fromEntries(
    Object.entries(properties).flatMap(([name, member]) => {
      const value = (member as Json)['default'];
      return value === undefined ? [] : [[name, value]];
    }),
  );

const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;

const isSchema = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && Object.keys(value).length > 0;
