import { mkdirSync } from 'node:fs';
import { ensureDebianPackages } from './debian.ts';
import { cacheDir } from './paths.ts';
import { lastLines, type Output, run } from './process.ts';

export type Log = (line: string) => void;

/** Runs buildah on the harness's own store. Its failure is a code, not a throw. */
export type Buildah = (args: readonly string[]) => Promise<Output>;

/**
 * buildah needs no daemon and, with chroot isolation, no more rights than root in a container has.
 *
 * The store is the harness's own: base images made here bear the names of published ones, and nobody's other store shall hold them.
 * Each call has a mount and a pid namespace of its own, so that whatever ends it leaves neither mounts nor processes; so the state
 * that buildah keeps of mounts (runroot) must not outlive a call either.
 */
export async function openBuildah(log: Log): Promise<Buildah> {
  await ensureDebianPackages(['buildah'], { log });
  const overlay = call('overlay');
  if ((await overlay(['info'])).code === 0) return overlay;
  // Overlay does not stand on every file system (not on another overlay, so not inside many containers); vfs copies each layer.
  const vfs = call('vfs');
  const { code, stderr } = await vfs(['info']);
  if (code === 0) return vfs;
  throw new Error(`expected buildah to open a store with overlay or vfs; got: ${stderr.trim()}`);
}

function call(driver: string): Buildah {
  const store = cacheDir('buildah', driver);
  const runroot = cacheDir('buildah', 'run');
  for (const folder of [store, runroot]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const script = 'mount -t tmpfs -o mode=0700 buildah "$0" && exec "$@"';
  const own = ['--storage-driver', driver];
  const env = { ...process.env, BUILDAH_ISOLATION: 'chroot' };
  return (args) =>
    run(alone(['sh', '-c', script, runroot, 'buildah', '--root', store, '--runroot', runroot, ...own, ...args]), {
      env,
    });
}

/** Prefixes a command so that its mounts and processes end with it. */
export function alone(argv: readonly string[]): string[] {
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation=private'];
  return ['unshare', ...namespaces, ...argv];
}

/** As `must`, with an error that names the step and not the whole command line. */
export async function mustBuildah(buildah: Buildah, what: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await buildah(args);
  if (code === 0) return stdout;
  throw new Error(`expected buildah to ${what}; got exit code ${code}:\n${lastLines(`${stdout}\n${stderr}`, 30)}`);
}
