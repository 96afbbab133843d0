import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** `flags` of Node; `prelude` is shell code that ends in a semicolon. */
type Binary = { readonly name: string; readonly flags: string; readonly prelude?: string };

/**
 * Each binary is one CJS file that is also a shell script: the shell part checks that a fitting Node is there, says so in one
 * line if not, ignores SIGUSR1 until Node can take it (its default is death), and hands over. For Node that line is a string and
 * a comment. A `#!/usr/bin/env node` could do none of this.
 */
const launcher = ({ name, flags, prelude = '' }: Binary) => `#!/bin/sh
':' //; trap '' USR1; ${prelude}N=\${AUTOSSH_NODE:-node}; V=$("$N" --version 2>/dev/null); case $V in v[0-9].*|v1[0-9].*|'') echo "${name}: expected Node.js 22.19 or newer as 'node' in PATH (or AUTOSSH_NODE=/path/to/node), got \${V:-none}" >&2; exit 1;; esac; exec "$N" ${flags} "$0" "$@"
`;

/** For a SIGUSR1 that comes before src/supervisor/sigusr1.ts has run: no word on stderr, no port that could be taken or guessed. */
const NO_DEBUGGER = '--inspect-publish-uid=http --inspect-port=0';

/** The binaries, and the V8 flags that their memory figures in docs/benchmarks.md were measured with. */
const LEAN = `--max-semi-space-size=1 --v8-pool-size=0 --expose-gc ${NO_DEBUGGER}`;
/** execa needs Set.prototype.union, which Node 22 brought; with it the drop-in also runs where only Node 20 is installed. */
const NODE_20 = 'Set.prototype.union??=function(o){return new Set([...this,...o])};';

/**
 * A supervisor does nothing that a compiler could make faster, and without one 8 MB of code of Node are never touched (`--jitless` would
 * warn on stderr about WebAssembly). One arena of malloc in glibc holds less air than one for each thread; and what V8 needs to read the
 * program, blocks of 32 kB and more, goes back to the system only if malloc is told never to raise the size it asks the system for.
 * The controller reads lists of megabytes once and keeps little of them: compact its heap (--optimize-for-size), and have malloc give
 * back what is free at its end. It costs about a tenth more processor time per reconciliation (1.9 instead of 1.7 s per 1,000).
 */
const BY_COMMAND = [
  'case $1 in',
  'sidecar|run) F="--no-opt --no-maglev --no-sparkplug"; export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_MMAP_THRESHOLD_=32768;;',
  'controller) F=--optimize-for-size; export MALLOC_TRIM_THRESHOLD_=131072;;',
  '*) F=;; esac; ',
].join(' ');
/** For the drop-in too; ssh does not get to see it (src/supervisor/own-malloc.ts), and settings of the user's come first. */
const OWN_MALLOC =
  '[ "${MALLOC_TRIM_THRESHOLD_+x}${MALLOC_MMAP_THRESHOLD_+x}" ] || export AUTOSSH_MALLOC=1 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_MMAP_THRESHOLD_=32768; ';
const binaries: readonly Binary[] = [
  { name: 'autossh', flags: LEAN, prelude: OWN_MALLOC },
  { name: 'autossh-operator', flags: `${LEAN} $F`, prelude: BY_COMMAND },
];
/** Commands of autossh-operator, which it loads when they are asked for. */
const parts = ['run', 'run-one', 'validate', 'explain', 'known-hosts', 'sidecar', 'controller'];

/** Bundles every binary and every part into dist/. Throws what esbuild throws. */
export const buildAll = async (outdir = `${root}dist`): Promise<void> => {
  const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as { version: string };
  await mkdir(outdir, { recursive: true });
  for (const binary of binaries) {
    const { name } = binary;
    await put(`${outdir}/${name}.cjs`, launcher(binary) + NODE_20 + (await bundle(name, version)), 0o755);
  }
  for (const name of parts) await put(`${outdir}/${name}.cjs`, await bundle(name, version), 0o644);
};

/** In place at once: another run in this checkout may be starting the program that is there. */
const put = async (file: string, content: string, mode: number): Promise<void> => {
  const next = `${file}.${process.pid}`;
  await writeFile(next, content);
  await chmod(next, mode);
  await rename(next, file);
};

/** The code of src/bin/NAME.ts with all it imports; what it imports dynamically stays a file beside it. */
const bundle = async (name: string, version: string): Promise<string> => {
  const options: BuildOptions = {
    entryPoints: [`${root}src/bin/${name}.ts`],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node22',
    minify: true,
    legalComments: 'none',
    define: { 'process.env.AUTOSSH_OPERATOR_VERSION': JSON.stringify(version) },
    // A part is required, not imported: Node's ESM loader would cost memory for as long as the process lives.
    supported: { 'dynamic-import': false },
    logLevel: 'warning',
    write: false,
    plugins: [partsBeside],
  };
  const code = (await build(options)).outputFiles?.[0]?.text;
  if (code === undefined) throw new Error(`esbuild wrote nothing for ${name}`);
  return code;
};

const partsBeside: Plugin = {
  name: 'parts-beside',
  setup: (bundler) => {
    bundler.onResolve({ filter: /^\.\/[\w-]+\.ts$/ }, ({ kind, path }) =>
      kind === 'dynamic-import' ? { path: path.replace(/\.ts$/, '.cjs'), external: true } : null,
    );
  },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const started = performance.now();
  await buildAll();
  console.log(`built dist/ in ${Math.round(performance.now() - started)} ms`);
}
