import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { installManifest, valuesTable } from './chart.ts';
import { ensureBinaries } from './cluster/binaries.ts';
import { reasonsDocument } from './reasons-document.ts';

const root = resolve(import.meta.dirname, '../..');

const HEADER = '# Generated from src/api by "npm run generate"; do not edit.\n';
const toYaml = (value: unknown): string => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

/** A template, since Helm never upgrades what lies in crds/; kept when the release goes, since with it all tunnels would go. */
const crdTemplate = (): string => {
  const crd = customResourceDefinition();
  const metadata = { name: crd.metadata.name, annotations: { 'helm.sh/resource-policy': 'keep' } };
  const yaml = toYaml({ ...crd, metadata });
  if (yaml.includes('{{')) throw new Error('expected a CRD without "{{": Helm would take it for an action');
  return `${HEADER}{{- if .Values.crds.install }}\n${yaml}{{- end }}\n`;
};

const README = 'charts/autossh-operator/README.md';
const TABLE = /(<!-- values: generated -->\n)[\s\S]*?(<!-- \/values -->)/;

const readme = (): string => {
  const text = readFileSync(join(root, README), 'utf8');
  if (!TABLE.test(text)) throw new Error(`expected the marks of the table of values in ${README}`);
  return text.replace(TABLE, (_all, begin: string, end: string) => `${begin}\n${valuesTable()}\n\n${end}`);
};

/** Every generated file of the repository that Node alone can make, by its path, with what it should hold. */
export const GENERATED: Readonly<Record<string, string>> = {
  'deploy/crds/sshtunnels.autossh.dev.yaml': `${HEADER}${toYaml(customResourceDefinition())}`,
  'charts/autossh-operator/templates/crd.yaml': crdTemplate(),
  [README]: readme(),
  'docs/reasons.md': reasonsDocument(),
};

/** Those that Helm makes, from the chart. */
export const generatedByHelm = async (helm: string): Promise<Readonly<Record<string, string>>> => ({
  'deploy/install.yaml': await installManifest(helm),
});

/** The generated files that are missing or differ. */
export const drifted = (generated: Readonly<Record<string, string>> = GENERATED): string[] =>
  Object.entries(generated).flatMap(([path, content]) => {
    try {
      return readFileSync(join(root, path), 'utf8') === content ? [] : [path];
    } catch {
      return [path];
    }
  });

const write = (generated: Readonly<Record<string, string>>): void => {
  for (const path of drifted(generated)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), generated[path] ?? '');
    console.log(`wrote ${path}`);
  }
};

if (import.meta.main) {
  write(GENERATED);
  const { helm } = await ensureBinaries(['helm'], { log: console.error });
  // After the CRD, which is a part of the chart.
  write(await generatedByHelm(helm));
}
