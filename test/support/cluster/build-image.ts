import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ensureBaseImage } from './base-image.ts';
import { type Log, mustBuildah, openBuildah } from './buildah.ts';
import { baseImages, qualified } from './dockerfile.ts';
import { withImageLock, writeArchive } from './images.ts';

/**
 * Builds an unmodified Dockerfile, without a daemon and without a registry, into an archive that `loadImage` takes by the same
 * reference; returns the archive's path. Steps whose inputs are the same as last time are taken from last time.
 * `dockerfile` is relative to `context`. Needs root.
 */
export async function buildImage(
  context: string,
  dockerfile: string,
  reference: string,
  { log = console.error }: { log?: Log } = {},
): Promise<string> {
  const file = resolve(context, dockerfile);
  const name = qualified(reference);
  return await withImageLock(log, async () => {
    const buildah = await openBuildah(log);
    // What a build that was ended in its middle left.
    await mustBuildah(buildah, 'remove left-over containers', ['rm', '--all']);
    for (const base of baseImages(readFileSync(file, 'utf8'))) await ensureBaseImage(buildah, base, log);
    log(`building ${name}`);
    const build = ['bud', '--layers', '--pull-never', '--file', file, '--tag', name, context];
    await mustBuildah(buildah, `build ${file}`, build);
    const id = (await mustBuildah(buildah, `find ${name}`, ['images', '--quiet', '--no-trunc', name])).trim();
    const archive = await writeArchive(reference, id, async (_, path) => {
      await mustBuildah(buildah, `write ${name}`, ['push', '--quiet', name, `docker-archive:${path}:${name}`]);
    });
    // Earlier builds of it, no longer named by anything.
    await mustBuildah(buildah, 'remove what has no name', ['rmi', '--prune']);
    return archive;
  });
}
