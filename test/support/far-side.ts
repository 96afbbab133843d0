import { execFileSync, spawn } from 'node:child_process';
import { isAlive, processOf } from './processes.ts';
import { until } from './until.ts';

/** A second host: a network namespace of its own at the other end of a wire from this one (netns.ts has both ends elsewhere). Needs root. */
export type FarSide = {
  /** This machine's address on the wire, and the other's. */
  readonly near: string;
  readonly far: string;
  /** Put before a command so that it runs over there; the process stays the same one. */
  readonly enter: readonly string[];
  /** The kernel takes the namespace and the wire away; they also go when the process that made them dies. */
  remove(): Promise<void>;
};

/** Lays a wire to a fresh network namespace. Addresses are of 198.18.0.0/15, which RFC 2544 keeps for such things. */
export const makeFarSide = async (): Promise<FarSide> => {
  const keeper = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'unshare', '--net', '--', 'sleep', 'infinity'], {
    stdio: 'ignore',
  });
  const pid = keeper.pid;
  if (pid === undefined) throw new Error('expected setpriv and unshare (util-linux) in PATH');
  const keeping = await until('the network namespace', () => {
    const now = processOf(pid);
    return now?.name === 'sleep' && now;
  });
  const enter = ['nsenter', `--target=${pid}`, '--net', '--'];
  const wire = `far${pid}`;
  const run = (...command: string[]) =>
    execFileSync(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const remove = async () => {
    keeper.kill('SIGKILL');
    await until('the namespace to go', () => !isAlive(keeping));
  };
  try {
    run('ip', 'link', 'add', wire, 'type', 'veth', 'peer', 'name', 'near', 'netns', String(pid));
    const net = `198.${18 + (pid & 1)}.${(pid >> 1) & 255}`;
    const [near, far] = [`${net}.1`, `${net}.2`];
    run('ip', 'address', 'add', `${near}/30`, 'dev', wire);
    run('ip', 'link', 'set', wire, 'up');
    run(...enter, 'ip', 'address', 'add', `${far}/30`, 'dev', 'near');
    run(...enter, 'ip', 'link', 'set', 'near', 'up');
    run(...enter, 'ip', 'link', 'set', 'lo', 'up');
    return { near, far, enter, remove };
  } catch (error) {
    await remove();
    throw error;
  }
};
