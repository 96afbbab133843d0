import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** Runs a tool of node_modules; a failure shows the tool's own lines. */
const tool = (name: string, args: string[]) => {
  try {
    execFileSync(join(root, 'node_modules/.bin', name), args, { cwd: root, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${name} ${args.join(' ')}\n${stdout ?? ''}${stderr ?? ''}`);
  }
};

/**
 * The arrows of the house: which room of src/ may import which. They go one way, so that the decisions (tunnel, api) can be
 * tested without the world, and the world never decides.
 */
const ARROWS: Record<string, string[]> = {
  bin: ['operator', 'local', 'supervisor', 'telemetry', 'tunnel', 'api'],
  operator: ['kube', 'tunnel', 'api', 'telemetry'],
  local: ['supervisor', 'tunnel', 'api', 'telemetry'],
  supervisor: ['tunnel', 'api', 'telemetry'],
  kube: ['telemetry'],
  tunnel: ['api'],
  api: [],
  telemetry: [],
};
/** Rooms that decide and do not act: no process, socket, file or clock. */
const PURE = ['tunnel', 'api'];
const IMPURE =
  /\b(?:from|import\()\s*'(?:node:(?!assert|util\b)[\w/]+|pino|@kubernetes\/[^']+)'|\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bsetTimeout\b|\bsetInterval\b|\bMath\.random\b|\bprocess\./;

const sources = (dir: string): string[] =>
  readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));

const importsOf = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/\bfrom\s+'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'/g)].map((found) =>
    resolve(dirname(file), found[1] ?? found[2] ?? ''),
  );

/** Compiler and linter look at everything, which takes a busy machine half a minute. */
const LONG_MS = 300_000;

describe('the source', () => {
  it('type-checks', () => tool('tsc', ['--pretty', 'false']), LONG_MS);

  it('is formatted and lint-free', () => tool('biome', ['ci', '--colors=off', '.']), LONG_MS);

  it('keeps the arrows between its rooms', () => {
    const src = join(root, 'src');
    const broken: string[] = [];
    for (const file of sources(src)) {
      const room = relative(src, file).split('/')[0] ?? '';
      const allowed = ARROWS[room];
      if (allowed === undefined)
        broken.push(`${relative(root, file)}: no such room; expected ${Object.keys(ARROWS).join(', ')}`);
      for (const target of importsOf(file)) {
        const other = relative(src, target).split('/')[0] ?? '';
        if (other !== room && !allowed?.includes(other))
          broken.push(`${relative(root, file)} -> ${relative(root, target)}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it('keeps the deciding rooms free of processes, sockets, files and clocks', () => {
    const impure: string[] = [];
    for (const room of PURE)
      for (const file of sources(join(root, 'src', room)))
        readFileSync(file, 'utf8')
          .split('\n')
          .forEach((line, index) => {
            const code = line.replace(/^\s*(\*|\/\/|\/\*).*/, '');
            if (IMPURE.test(code)) impure.push(`${relative(root, file)}:${index + 1}: ${line.trim()}`);
          });
    expect(impure).toEqual([]);
  });
});
