import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A directory that is updated as the kubelet updates the volume of a ConfigMap (its AtomicWriter), step by step. */
export const kubeletVolume = (dir: string) => {
  let count = 0;
  mkdirSync(dir, { recursive: true });
  /** The files of an update, complete or not, that nothing points at yet. */
  const write = (data: Readonly<Record<string, string>>): string => {
    const fresh = `..2026_01_01_00_00_00.${++count}`;
    mkdirSync(join(dir, fresh));
    for (const [name, text] of Object.entries(data)) writeFileSync(join(dir, fresh, name), text, { mode: 0o444 });
    return fresh;
  };
  const publish = (data: Readonly<Record<string, string>>): void => {
    const old = linkOf(join(dir, '..data'));
    const fresh = write(data);
    // Names that are gone lose their link after the swap: until then they lead nowhere.
    symlinkSync(fresh, join(dir, '..data_tmp'));
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
    const names = readdirSync(dir).filter((name) => !name.startsWith('..'));
    for (const name of Object.keys(data)) if (!names.includes(name)) symlinkSync(join('..data', name), join(dir, name));
    for (const name of names) if (!(name in data)) rmSync(join(dir, name));
    if (old !== null) rmSync(join(dir, old), { recursive: true });
  };
  return { publish, write };
};

const linkOf = (path: string): string | null => {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
};
