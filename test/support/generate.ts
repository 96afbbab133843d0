import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinition } from '../../src/api/crd.ts';

const root = resolve(import.meta.dirname, '../..');

const crd = `# Generated from src/api by "npm run generate"; do not edit.
${stringify(customResourceDefinition(), { lineWidth: 0, aliasDuplicateObjects: false })}`;

/** Every generated file of the repository, by its path, with what it should hold. */
export const GENERATED: Readonly<Record<string, string>> = {
  'deploy/crds/sshtunnels.autossh.dev.yaml': crd,
  // Helm installs what lies in crds/ before anything else, and never removes it: a tunnel must not vanish with a chart.
  'charts/autossh-operator/crds/sshtunnels.autossh.dev.yaml': crd,
};

/** The generated files that are missing or differ. */
export const drifted = (): string[] =>
  Object.entries(GENERATED).flatMap(([path, content]) => {
    try {
      return readFileSync(join(root, path), 'utf8') === content ? [] : [path];
    } catch {
      return [path];
    }
  });

if (import.meta.main) {
  for (const path of drifted()) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), GENERATED[path] ?? '');
    console.log(`wrote ${path}`);
  }
}
