import { copyFileSync, cpSync, existsSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { alone, type Buildah, type Log, mustBuildah } from './buildah.ts';
import { ensureDebianPackages } from './debian.ts';
import { type LocalBase, localBase, qualified } from './dockerfile.ts';
import { cacheDir } from './paths.ts';
import { must } from './process.ts';

/** The repository's own Node, from the npm package `node`: the very binary that node.org publishes. */
const ownNode = join(import.meta.dirname, '..', '..', '..', 'node_modules', 'node', 'bin', 'node');

/**
 * Sees to it that buildah's store holds the image under its real name: it is there, or it is pulled, or, where no registry
 * can be reached, it is made of Debian packages to be like the published one in what our Dockerfiles use of it.
 */
export async function ensureBaseImage(buildah: Buildah, reference: string, log: Log): Promise<void> {
  const name = qualified(reference);
  if ((await buildah(['inspect', '--type', 'image', name])).code === 0) return;
  log(`pulling ${name}`);
  const pulled = await buildah(['pull', '--quiet', '--policy', 'always', name]);
  if (pulled.code === 0) return;
  const base = localBase(name);
  if (!base) {
    throw new Error(
      `expected to pull ${name}, or to know how to make it; got: ${pulled.stderr.trim()}. Made here are docker.io/library/debian:SUITE-slim and node:24-SUITE-slim, SUITE bookworm or trixie`,
    );
  }
  log(`${name} cannot be pulled here: making it of Debian's packages (about a minute)`);
  await make(buildah, { name, base, log });
}

async function make(buildah: Buildah, { name, base, log }: { name: string; base: LocalBase; log: Log }): Promise<void> {
  await ensureDebianPackages(['mmdebstrap', 'debian-archive-keyring'], { log });
  mkdirSync(cacheDir('images'), { recursive: true, mode: 0o700 });
  const context = mkdtempSync(cacheDir('images', '.base-'));
  try {
    await debootstrap(base, join(context, 'root.tar'));
    if (base.node) addNode(context);
    writeFileSync(join(context, 'Dockerfile'), dockerfile(base));
    await mustBuildah(buildah, `make ${name}`, ['bud', '--quiet', '--layers=false', '--tag', name, context]);
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

/** What the published slim images leave out too. */
const leftOut = ['doc', 'man', 'info', 'locale', 'groff', 'lintian'].map((name) => `/usr/share/${name}/*`);

async function debootstrap({ suite, node }: LocalBase, archive: string): Promise<void> {
  const include = node ? ['ca-certificates', 'libstdc++6', 'libatomic1'] : ['ca-certificates'];
  const options = [
    '--variant=minbase',
    `--include=${include.join(',')}`,
    ...leftOut.map((path) => `--dpkgopt=path-exclude=${path}`),
    '--dpkgopt=path-include=/usr/share/doc/*/copyright',
  ];
  await must(alone(['mmdebstrap', ...options, suite, archive]));
}

function addNode(context: string): void {
  // A link where it can be: it is 120 MB.
  try {
    linkSync(ownNode, join(context, 'node'));
  } catch {
    copyFileSync(ownNode, join(context, 'node'));
  }
  const npm = npmFolder();
  mkdirSync(join(context, 'npm'));
  if (npm) cpSync(npm, join(context, 'npm'), { recursive: true, dereference: true });
}

/** npm of this machine, for Dockerfiles that install packages. */
function npmFolder(): string | undefined {
  return ['/usr/lib/node_modules/npm', '/usr/local/lib/node_modules/npm', '/usr/share/nodejs/npm'].find((folder) =>
    existsSync(join(folder, 'bin', 'npm-cli.js')),
  );
}

function dockerfile({ node }: LocalBase): string {
  const debian = ['FROM scratch', 'ADD root.tar /'];
  const withNode = [
    'COPY node /usr/local/bin/node',
    'COPY npm /usr/local/lib/node_modules/npm',
    'RUN cd /usr/local/bin && ln -s node nodejs && ln -s ../lib/node_modules/npm/bin/npm-cli.js npm && ln -s ../lib/node_modules/npm/bin/npx-cli.js npx \\',
    ' && groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node',
    `ENV NODE_VERSION=${process.versions.node}`,
  ];
  return [...debian, ...(node ? withNode : []), `CMD ["${node ? 'node' : 'bash'}"]`, ''].join('\n');
}
