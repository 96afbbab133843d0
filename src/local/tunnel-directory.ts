import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { LocalFiles } from './local-tunnel.ts';

/** Below the directory of a tunnel: what its supervisor takes for the mounted volumes, and its TMPDIR. */
export const ROOT = 'root';
export const TEMPORARY = 't';

/** The directory of one tunnel of a run; its name is short, since sockets lie below it. */
export type TunnelDirectory = {
  readonly path: string;
  /** Puts these files in the place of those that were there, all at once, as the swap of a volume does. */
  readonly put: (files: LocalFiles) => void;
  /** Whether all of these are still there: a cleaner of temporary files may have taken them away. */
  readonly has: (files: LocalFiles) => boolean;
  readonly remove: () => void;
};

export const makeTunnelDirectory = (path: string): TunnelDirectory => {
  let version = 0;
  return {
    path,
    put: (files) => {
      mkdirSync(join(path, TEMPORARY), { recursive: true, mode: 0o700 });
      const former = join(path, String(version));
      version++;
      const next = join(path, String(version));
      mkdirSync(next, { mode: 0o700 });
      for (const [name, content] of files) {
        mkdirSync(dirname(join(next, name)), { recursive: true, mode: 0o700 });
        writeFileSync(join(next, name), content, { mode: 0o600 });
      }
      symlinkSync(String(version), join(path, 'next'));
      renameSync(join(path, 'next'), join(path, ROOT));
      rmSync(former, { recursive: true, force: true });
    },
    has: (files) =>
      existsSync(join(path, TEMPORARY)) && [...files.keys()].every((name) => existsSync(join(path, ROOT, name))),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
};
