import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../support/until.ts';

const DEVICES = ['null', 'zero', 'random', 'urandom', 'tty'];

/** A syslog for one run: `command` in front of another one runs that where /dev/log is this one's. */
export type Syslog = {
  readonly command: readonly string[];
  readonly text: () => string;
  readonly stop: () => void;
};

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
  const isRoot = process.getuid?.() === 0;
  return {
    command: [
      ...['unshare', isRoot ? '-m' : '-Urm'],
      ...['sh', '-c', `mount --make-rprivate / && ${mounts} && mount --rbind '${dev}' /dev && exec "$@"`, 'sh'],
    ],
    text,
    stop: () => server.kill('SIGKILL'),
  };
};
