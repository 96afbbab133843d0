import { createHash } from 'node:crypto';
import {
  chmodSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ensureBinaries, type Log } from './binaries.ts';
import { ensureDebianPackages } from './debian.ts';
import { qualified } from './dockerfile.ts';
import { withLock } from './lock.ts';
import { cacheDir, platform } from './paths.ts';
import { must, run } from './process.ts';
import { busyboxImage, pauseImage } from './versions.ts';

/** Where the archive of an image lies: what `buildImage` writes and `loadImage` reads. */
export function archivePath(reference: string): string {
  return cacheDir('images', platform, `${qualified(reference).replaceAll(/[^\w.-]/g, '_')}.tar`);
}

/** The sandbox of every pod. */
export async function ensurePauseImage(log: Log): Promise<string> {
  const { pause } = await ensureBinaries(['pause'], { log });
  return await packImage({ reference: pauseImage, files: { pause }, config: { Entrypoint: ['/pause'] } });
}

/** A small image with a shell, httpd, wget and nslookup, for pods that stand for an application. */
export async function ensureBusyboxImage(log: Log): Promise<string> {
  await ensureDebianPackages(['busybox-static'], { log });
  const binary = existsSync('/usr/bin/busybox') ? '/usr/bin/busybox' : '/bin/busybox';
  const { stdout } = await run([binary, '--list']);
  const applets = stdout.trim().split('\n');
  return await packImage({
    reference: busyboxImage,
    files: { 'bin/busybox': binary },
    links: Object.fromEntries(applets.map((applet) => [`bin/${applet}`, 'busybox'])),
    config: { Env: ['PATH=/bin'], Cmd: ['sh'] },
  });
}

type Packing = {
  reference: string;
  files: Record<string, string>;
  links?: Record<string, string>;
  config: Record<string, readonly string[]>;
};

/** An image of a few files without an image builder: one layer, in the archive format of `docker save`. */
async function packImage({ reference, files, links = {}, config }: Packing): Promise<string> {
  const contents = await Promise.all(Object.values(files).map(sha256));
  const made = JSON.stringify({ packing: 2, files: Object.keys(files), contents, links, config });
  return await writeArchive(reference, made, async (folder, archive) => {
    const root = join(folder, 'root');
    for (const name of [...Object.keys(files), ...Object.keys(links), 'tmp/x'])
      mkdirSync(join(root, name, '..'), { recursive: true });
    chmodSync(join(root, 'tmp'), 0o1777);
    for (const [name, source] of Object.entries(files)) await copyFile(source, join(root, name));
    for (const [name, target] of Object.entries(links))
      if (!(name in files)) await must(['ln', '-sf', target, join(root, name)]);
    const reproducible = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=a+rX'];
    await must(['tar', ...reproducible, '-C', root, '-cf', join(folder, 'layer.tar'), '.']);
    const image = {
      architecture: arch() === 'x64' ? 'amd64' : arch(),
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: [`sha256:${await sha256(join(folder, 'layer.tar'))}`] },
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(image));
    const manifest = [{ Config: 'config.json', RepoTags: [qualified(reference)], Layers: ['layer.tar'] }];
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
    await must(['tar', '-C', folder, '-cf', archive, 'manifest.json', 'config.json', 'layer.tar']);
  });
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/**
 * The archive of an image, written unless the one that lies there was made of the same (`made` says of what).
 * Writes beside the destination and renames: nobody reads half an archive.
 */
export async function writeArchive(
  reference: string,
  made: string,
  write: (folder: string, archive: string) => Promise<void>,
): Promise<string> {
  const destination = archivePath(reference);
  const note = `${destination}.made`;
  if (existsSync(destination) && existsSync(note) && readFileSync(note, 'utf8') === made) return destination;
  mkdirSync(join(destination, '..'), { recursive: true, mode: 0o700 });
  const folder = mkdtempSync(join(destination, '..', '.making-'));
  try {
    await write(folder, join(folder, 'image.tar'));
    rmSync(note, { force: true });
    renameSync(join(folder, 'image.tar'), destination);
    writeFileSync(note, made);
    return destination;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An archive for `what`, which is one already or the name of an image that was built. */
export function archiveOf(what: string): string {
  const archive = what.endsWith('.tar') ? what : archivePath(what);
  if (existsSync(archive)) return archive;
  throw new Error(
    `expected an image archive of ${what} at ${archive}; got none: call buildImage first, or give the path of a .tar`,
  );
}

/** Keeps image builders off each other's storage. */
export function withImageLock<T>(log: Log, work: () => Promise<T>): Promise<T> {
  return withLock(cacheDir('lock', 'images'), log, work);
}
