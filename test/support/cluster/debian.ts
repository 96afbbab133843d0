import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { withLock } from './lock.ts';
import { cacheDir } from './paths.ts';
import { must } from './process.ts';

/** A file whose presence means that nothing needs installing, whoever put it there. */
const evidence: Record<string, readonly string[]> = {
  buildah: ['/usr/bin/buildah'],
  'busybox-static': ['/usr/bin/busybox', '/bin/busybox'],
  containerd: ['/usr/bin/containerd'],
  'containernetworking-plugins': ['/usr/lib/cni/ptp'],
  'debian-archive-keyring': ['/usr/share/keyrings/debian-archive-keyring.gpg'],
  'etcd-server': ['/usr/bin/etcd'],
  iproute2: ['/usr/sbin/ip', '/sbin/ip', '/usr/bin/ip'],
  iptables: ['/usr/sbin/iptables', '/sbin/iptables'],
  mmdebstrap: ['/usr/bin/mmdebstrap'],
  runc: ['/usr/sbin/runc', '/usr/bin/runc'],
};

const policy = '/usr/sbin/policy-rc.d';

/** Installs what is missing when root on a Debian; anyone else gets the command to run. */
export async function ensureDebianPackages(
  packages: readonly string[],
  { log }: { log: (line: string) => void },
): Promise<void> {
  if (missing(packages).length === 0) return;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    const names = missing(packages).join(' ');
    throw new Error(
      `expected ${names} on this machine; got none: run \`sudo apt-get install --no-install-recommends ${names}\` (Debian's names), then try again`,
    );
  }
  await withLock(cacheDir('lock', 'apt'), log, async () => {
    const wanted = missing(packages);
    if (wanted.length === 0) return;
    log(`installing Debian packages: ${wanted.join(' ')}`);
    // Tells a frozen wait from a fault: someone else's apt may hold dpkg's lock for minutes.
    const apt = ['apt-get', '--quiet', '--yes', '-o', 'DPkg::Lock::Timeout=600'];
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    await must([...apt, 'update'], { env });
    await withoutStartingServices(() => must([...apt, 'install', '--no-install-recommends', ...wanted], { env }));
  });
}

function missing(packages: readonly string[]): string[] {
  return packages.filter((name) => {
    const files = evidence[name];
    if (!files)
      throw new Error(`expected a known Debian package; got ${name}: add it to the table in ${import.meta.filename}`);
    return !files.some((file) => existsSync(file));
  });
}

/**
 * Debian's etcd-server and containerd start a service when installed; a machine that wants our tests did not ask for one.
 * policy-rc.d is what both invoke-rc.d and deb-systemd-invoke ask; one that exists already is the machine's own decision.
 */
async function withoutStartingServices<T>(install: () => Promise<T>): Promise<T> {
  if (existsSync(policy)) return await install();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return await install();
  } finally {
    rmSync(policy, { force: true });
  }
}
