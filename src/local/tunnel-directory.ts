import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ensureOwnDirectory } from '../supervisor/own-directory.ts';
import type { LocalFiles } from './local-tunnel.ts';

/** Below the directory of a tunnel: what its supervisor takes for the mounted volumes, and its TMPDIR. */
export const ROOT = 'root';
export const TEMPORARY = 't';

/** The directory of one tunnel of a run; its name is short, since sockets lie below it. */
export type TunnelDirectory = {
  readonly path: string;
  /**
   * Puts these files in the place of those that were there, all at once, as the swap of a volume does. The directory that it lies in must
   * be there. Throws where they cannot be written; those that were there stay then.
   */
  readonly put: (files: LocalFiles) => void;
  /** Whether the files of the last put are all there: it may have thrown, or a cleaner of temporary files have taken them away. */
  readonly isWhole: () => boolean;
  readonly remove: () => void;
};

export const makeTunnelDirectory = (path: string): TunnelDirectory => {
  const [root, link] = [join(path, ROOT), join(path, 'next')];
  let version = 0;
  /** The version that the root leads to. */
  let former: string | null = null;
  /** Of what was put last; null: nothing, or not to its end. */
  let names: readonly string[] | null = null;
  return {
    path,
    put: (files) => {
      names = null;
      for (const own of [path, join(path, TEMPORARY)]) ensureOwnDirectory(own);
      const name = String(++version);
      try {
        write(join(path, name), files);
        rmSync(link, { force: true });
        symlinkSync(name, link);
        renameSync(link, root);
      } catch (error) {
        rmSync(join(path, name), { recursive: true, force: true });
        throw error;
      }
      if (former !== null) rmSync(join(path, former), { recursive: true, force: true });
      former = name;
      names = [TEMPORARY, ...[...files.keys()].map((file) => join(ROOT, file))];
    },
    isWhole: () => names?.every((one) => existsSync(join(path, one))) ?? false,
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
};

const write = (dir: string, files: LocalFiles): void => {
  mkdirSync(dir, { mode: 0o700 });
  for (const [name, content] of files) {
    mkdirSync(dirname(join(dir, name)), { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, name), content, { mode: 0o600 });
  }
};
