import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isMap, isScalar, type Node, parseAllDocuments, parseDocument, stringify, type YAMLMap } from 'yaml';
import { must } from './cluster/process.ts';

/** The release that the chart's names, and the plain manifests, come from. */
export const RELEASE = 'autossh-operator';
export const NAMESPACE = 'autossh-system';
/** The user name of the operator's service account. */
export const OPERATOR = `system:serviceaccount:${NAMESPACE}:${RELEASE}`;
export const CHART = resolve(import.meta.dirname, '../../charts/autossh-operator');

export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
};

/** The objects of a YAML stream. */
export const objectsOf = (yaml: string): Manifest[] =>
  parseAllDocuments(yaml).flatMap((document) => {
    if ('errors' in document && document.errors.length > 0) throw document.errors[0];
    const object = document.toJS() as Manifest | null;
    return object === null ? [] : [object];
  });

/** deploy/install.yaml: what Helm makes of the chart's defaults, with its namespace, less what only Helm understands. */
export const installManifest = async (helm: string): Promise<string> => {
  const rendered = await must([helm, 'template', RELEASE, CHART, '--namespace', NAMESPACE], { env: process.env });
  const documents = [namespace, ...objectsOf(rendered).map(withoutHelm)].map((object) =>
    stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }),
  );
  return `# Generated from charts/autossh-operator by "npm run generate"; do not edit.
# kubectl apply --server-side -f deploy/install.yaml
${documents.join('---\n')}`;
};

const namespace: Manifest = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
};

const HELMS = new Set(['helm.sh/chart', 'helm.sh/resource-policy', 'app.kubernetes.io/managed-by']);

/** Without the labels and annotations that are Helm's, at whatever depth. */
const withoutHelm = <T>(value: T): T => {
  if (Array.isArray(value)) return value.map(withoutHelm) as T;
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).flatMap(([key, member]) => {
    if (HELMS.has(key)) return [];
    const rest = withoutHelm(member);
    const emptied = key === 'annotations' && Object.keys(rest ?? {}).length === 0 && Object.keys(member).length > 0;
    return emptied ? [] : [[key, rest]];
  });
  return Object.fromEntries(kept) as T;
};

/** The table of values in the chart's README: each value that has a comment in values.yaml, or lies within nothing that has. */
export const valuesTable = (): string => {
  const { contents } = parseDocument(readFileSync(join(CHART, 'values.yaml'), 'utf8'));
  if (!isMap(contents)) throw new Error('expected values.yaml to be a mapping');
  const rows = rowsOf(contents as YAMLMap<Node, Node | null>, '');
  return ['| value | default | meaning |', '|---|---|---|', ...rows].join('\n');
};

const rowsOf = (map: YAMLMap<Node, Node | null>, prefix: string): string[] =>
  map.items.flatMap(({ key, value }, index) => {
    const path = `${prefix}${isScalar(key) ? String(key.value) : ''}`;
    // A comment above a mapping's first key is held by the mapping.
    const comment = key.commentBefore ?? (index === 0 && prefix !== '' ? map.commentBefore : undefined);
    if (comment) {
      // What an empty line sets apart is about more than this value.
      const own = comment.split(/\n\s*\n/).at(-1) ?? '';
      const meaning = own.trim().replaceAll(/\n\s*/g, ' ').replaceAll('|', '\\|');
      return [`| \`${path}\` | \`${JSON.stringify(value?.toJSON() ?? null)}\` | ${meaning} |`];
    }
    if (!isMap(value) || value.items.length === 0) throw new Error(`expected a comment above ${path} in values.yaml`);
    return rowsOf(value as YAMLMap<Node, Node | null>, `${path}.`);
  });
