import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { whyNot } from '../../support/needs.ts';
import { until } from '../../support/until.ts';

const DEVICES = ['null', 'zero', 'random', 'urandom', 'tty'];

/** A syslog for one run: `command` in front of another one runs that where /dev/log is this one's. */
export type Syslog = {
  readonly command: readonly string[];
  readonly text: () => string;
  readonly stop: () => void;
};

const OWN_MOUNTS = ['unshare', process.getuid?.() === 0 ? '-m' : '-Urm'] as const;

/** Why there can be no syslog of a run's own here, or null. */
export const whyNoSyslog = (): string | null =>
  whyNot('syslog of a test its own', 'unshare (util-linux), the right to mount, and socat', [
    ...OWN_MOUNTS,
    ...['sh', '-ec', 'mount --make-rprivate /; mount -t tmpfs none /mnt; socat -V'],
  ]);

/** The machine's own /dev/log is never touched: the run gets a mount namespace with a /dev of its own. */
export const withSyslog = async (dir: string): Promise<Syslog> => {
  const dev = join(dir, 'dev');
  const file = join(dir, 'syslog');
  mkdirSync(dev);
  for (const name of DEVICES) writeFileSync(join(dev, name), '');
  // socat puts nothing between two messages; each begins with its priority.
  const server = spawn('socat', ['-u', `UNIX-RECV:${dev}/log`, `OPEN:${file},creat,append`], { stdio: 'ignore' });
  await until('a syslog', () => existsSync(join(dev, 'log')));
  const text = () => (existsSync(file) ? readFileSync(file, 'utf8').replaceAll(/\n?(?=<\d+>[A-Z])/g, '\n') : '');
  const mounts = DEVICES.map((name) => `mount --bind /dev/${name} '${dev}/${name}'`).join(' && ');
  return {
    command: [
      ...OWN_MOUNTS,
      ...['sh', '-c', `mount --make-rprivate / && ${mounts} && mount --rbind '${dev}' /dev && exec "$@"`, 'sh'],
    ],
    text,
    stop: () => server.kill('SIGKILL'),
  };
};
