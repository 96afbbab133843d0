import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type End, type NetPath, startNetPath, whyNoNetns } from '../netns.ts';
import { isAlive, processOf } from '../processes.ts';
import { until } from '../until.ts';
import type { WireOptions } from './wire.ts';

export type LinkOptions = Partial<Omit<WireOptions, 'ends'>>;

/** A network path whose ends see each other over a long wire. */
export type Link = {
  readonly path: NetPath;
  /** Addresses over the long wire. */
  readonly near: string;
  readonly far: string;
  stop(): Promise<void>;
};

/** Why there can be no link here, or null. */
export const whyNoLink = (): string | null =>
  whyNoNetns() ?? (existsSync('/dev/net/tun') ? null : 'no TUN devices: expected /dev/net/tun, got nothing');

/** What an ADSL line's modem holds: half a second at 1 Mbit/s. */
const QUEUE_PACKETS = 50;
const MTU = 1400;
const NETWORK = '10.98.0.0/24';
/** Linux' own default, which fills every queue it finds. */
const CONGESTION_CONTROL = 'cubic';

/**
 * Two network namespaces with a wire of the given delay, loss and rate between them: a TUN device at each end (socat), whose packets
 * go as datagrams through wire.ts. Needs root and /dev/net/tun.
 */
export const startLink = async (options: LinkOptions = {}): Promise<Link> => {
  const path = await startNetPath();
  const programs: ChildProcess[] = [];
  const start = (end: End, ...command: string[]) => {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...path.at(end), ...command], {
      // socat ends, with words, when a cut path refuses its datagrams.
      stdio: ['ignore', 'ignore', command[0] === 'socat' ? 'ignore' : 'inherit'],
    });
    child.on('error', () => {});
    programs.push(child);
    return child;
  };
  const udp = (host: string, port: number) => ({ host, port });
  const wire: WireOptions = {
    ...{ delayMs: 0, loss: 0, bitsPerSecond: 0, queuePackets: QUEUE_PACKETS },
    ...options,
    ends: [
      { here: udp('127.0.0.1', 6001), there: udp('127.0.0.1', 6002) },
      { here: udp(path.clientAddress, 6003), there: udp(path.serverAddress, 6004) },
    ],
  };
  const [near, far] = ['10.98.0.2', '10.98.0.1'];
  const wireProgram = start('client', process.execPath, join(import.meta.dirname, 'wire.ts'), JSON.stringify(wire));
  const stop = async () => {
    const all = programs.flatMap(({ pid }) => (pid === undefined ? [] : [processOf(pid)])).filter((one) => !!one);
    for (const one of programs) one.kill('SIGKILL');
    await until('the wire to end', () => all.every((one) => !isAlive(one)));
    await path.stop();
  };
  try {
    await until('the wire', () => listens(path, wireProgram));
    for (const [end, address, { here, there }] of [
      ['client', near, wire.ends[0]],
      ['server', far, wire.ends[1]],
    ] as const)
      start(
        end,
        'socat',
        `TUN:${address}/24,up,iff-no-pi,tun-name=wire0`,
        `UDP4:${here.host}:${here.port},bind=${there.host}:${there.port}`,
      );
    await until('both ends of the wire', () =>
      (['client', 'server'] as const).every((end) =>
        readFileSync(`/proc/${path.pid(end)}/net/dev`, 'latin1').includes('wire0'),
      ),
    );
    for (const end of ['client', 'server'] as const) {
      path.run(end, 'ip', 'link', 'set', 'wire0', 'mtu', String(MTU));
      path.run(end, 'ip', 'route', 'replace', NETWORK, 'dev', 'wire0', 'congctl', CONGESTION_CONTROL);
    }
  } catch (problem) {
    await stop();
    throw problem;
  }
  return { path, near, far, stop };
};

/** Whether both UDP ports of the wire are open (6001 and 6003, in hexadecimal). */
const listens = (path: NetPath, { exitCode }: ChildProcess): boolean => {
  if (exitCode !== null) throw new Error(`the wire ended with ${exitCode}`);
  const table = readFileSync(`/proc/${path.pid('client')}/net/udp`, 'latin1');
  return table.includes(':1771 ') && table.includes(':1773 ');
};
