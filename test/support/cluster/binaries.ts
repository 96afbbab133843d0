import { spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { constants as osConstants, setPriority } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { ensureDebianPackages } from './debian.ts';
import { withLock } from './lock.ts';
import { cacheDir, platform } from './paths.ts';
import { dyingWithUs, lastLines, run } from './process.ts';
import { cacheFolder, type Program, type ProgramName, programs } from './programs.ts';

export type Log = (line: string) => void;

/**
 * Paths of the named programs: from KUBEBUILDER_ASSETS or PATH where the version fits, else from the cache, else built now
 * (minutes the first time). Several runs may ask at once: one builds, the others wait and find it done.
 */
export async function ensureBinaries<N extends ProgramName>(
  names: readonly N[],
  { log }: { log: Log },
): Promise<Record<N, string>> {
  const found: Partial<Record<N, string>> = {};
  for (const name of names) {
    found[name] = (await onThisMachine(name, log)) ?? (await fetched(name, log));
  }
  return found as Record<N, string>;
}

async function onThisMachine(name: ProgramName, log: Log): Promise<string | undefined> {
  const { accepted }: Program = programs[name];
  if (!accepted) return undefined;
  const folders = [process.env.KUBEBUILDER_ASSETS, ...(process.env.PATH ?? '').split(delimiter)];
  const candidates = folders.flatMap((folder) => (folder ? [join(folder, name)] : [])).filter(isExecutable);
  // /bin and /usr/bin are one folder on a merged /usr, and both stand in PATH.
  for (const path of new Map(candidates.map((candidate) => [realpathSync(candidate), candidate])).values()) {
    const { stdout, stderr } = await run([path, ...accepted.ask]);
    if (accepted.answer.test(stdout) || accepted.answer.test(stderr)) return path;
    log(`${path} is not ${programs[name].version}: passing over it`);
  }
  return undefined;
}

async function fetched(name: ProgramName, log: Log): Promise<string> {
  const program: Program = programs[name];
  if (program.source.kind === 'debian') {
    await ensureDebianPackages([program.source.package], { log });
    const path = await onThisMachine(name, log);
    if (path) return path;
    throw new Error(
      `expected Debian's ${program.source.package} to bring ${name} ${program.version}; got none that fits: put one into KUBEBUILDER_ASSETS`,
    );
  }
  const path = cacheDir('bin', cacheFolder(name, platform), name);
  if (isExecutable(path)) return path;
  // One lock for all: two builds side by side take as long as one after the other, and share Go's cache.
  return await withLock(cacheDir('lock', 'build'), log, async () => {
    if (!isExecutable(path)) await build(name, program, path, log);
    return path;
  });
}

async function build(name: ProgramName, program: Program, path: string, log: Log): Promise<void> {
  await expectGo(name, program);
  const folder = join(path, '..');
  mkdirSync(folder, { recursive: true });
  // Under the lock nobody else builds: it was left by one that was killed.
  for (const left of readdirSync(folder).filter((entry) => entry.startsWith('.build-')))
    rmSync(join(folder, left), { recursive: true, force: true });
  // On the same file system as its destination, so that the rename is atomic: nobody sees half a binary.
  const temporary = mkdtempSync(join(folder, '.build-'));
  try {
    await go(name, program, temporary, log);
    const built = join(temporary, outputName(name, program));
    if (!existsSync(built)) throw new Error(`expected Go to write ${built}; it wrote nothing there`);
    renameSync(built, path);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The modules ask for 1.25; from 1.21 on Go fetches a newer one itself, and before that it does not even understand the asking. */
async function expectGo(name: ProgramName, { version }: Program): Promise<void> {
  const { stdout, code } = await run(['go', 'version']);
  const found = /go1\.(\d+)\S*/.exec(stdout);
  if (code === 0 && (found === null || Number(found[1]) >= 21)) return;
  throw new Error(
    `expected Go to build ${name} ${version}; got ${found?.[0] ?? 'none in PATH'}. Install Go (1.25 or newer, https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder that has ${name}`,
  );
}

function outputName(name: ProgramName, { source }: Program): string {
  return source.kind === 'install' ? basename(source.package) : name;
}

/** Runs the build with a line now and then, since minutes without one look like a hang. */
function go(name: ProgramName, program: Program, folder: string, log: Log): Promise<void> {
  const { source } = program;
  const flags = ['-trimpath', '-ldflags', `-s -w ${source.kind === 'module' ? source.ldflags : ''}`.trim()];
  const args =
    source.kind === 'module'
      ? ['build', '-mod=readonly', ...flags, '-o', join(folder, name), source.package]
      : ['install', ...flags, `${source.package}@${program.version}`];
  const [file, ...rest] = dyingWithUs(['go', ...args], 'INT');
  const child = spawn(file, rest, {
    cwd: source.kind === 'module' ? join(import.meta.dirname, source.folder) : folder,
    // Static programs: they also run in images with no C library. GOWORK off: a workspace of the user's is none of our versions.
    env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off', GOBIN: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (child.pid !== undefined) setPriority(child.pid, osConstants.priority.PRIORITY_LOW);
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  const started = performance.now();
  const progress = () => {
    const elapsed = Math.round((performance.now() - started) / 1000);
    log(`building ${name} ${program.version}: ${elapsed} s (about ${program.estimateSeconds} s on two cores)`);
  };
  progress();
  const timer = setInterval(progress, 15_000);
  return new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else
        reject(
          new Error(
            `expected \`go ${args.join(' ')}\` to succeed; got exit code ${code}: ${lastLines(Buffer.concat(output).toString(), 20)}`,
          ),
        );
    });
  }).finally(() => clearInterval(timer));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
