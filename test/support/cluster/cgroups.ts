import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = '/sys/fs/cgroup';

/** The folder of that name in every hierarchy: one with cgroup v2, one for each group of controllers with v1. */
export function cgroupFolders(name: string): string[] {
  return hierarchies(readFileSync('/proc/self/mountinfo', 'utf8')).map((mount) => join(mount, name));
}

/** Mount points of cgroup hierarchies, from the kernel's table of mounts. */
export function hierarchies(mountinfo: string): string[] {
  const mounts = mountinfo.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const mountPoint = left.split(' ')[4];
    return mountPoint?.startsWith(root) && /^cgroup2? /.test(right) ? [mountPoint] : [];
  });
  return [...new Set(mounts)];
}

/**
 * A root for the pods' cgroups of one node. Two kubelets below the same root would each end
 * the other's pods, as leftovers they do not know.
 */
export function makeCgroups(name: string): void {
  if (existsSync(join(root, 'cgroup.controllers'))) {
    // cgroup v2 hands a controller down only where its parent says so.
    const controllers = readFileSync(join(root, 'cgroup.controllers'), 'utf8').trim().split(' ');
    const enable = controllers.map((controller) => `+${controller}`).join(' ');
    writeFileSync(join(root, 'cgroup.subtree_control'), enable);
    mkdirSync(join(root, name), { recursive: true });
    writeFileSync(join(root, name, 'cgroup.subtree_control'), enable);
    return;
  }
  for (const folder of cgroupFolders(name)) mkdirSync(folder, { recursive: true });
}
