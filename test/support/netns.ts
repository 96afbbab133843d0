import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { whyNot } from './needs.ts';
import { descendantsOf, processOf, signal } from './processes.ts';
import { listensAt } from './unix-socket.ts';
import { until } from './until.ts';

/** The two ends of a network path. */
export type End = 'client' | 'server';

/** Two network namespaces with a wire between them: a real path that can be cut. */
export type NetPath = {
  serverAddress: string;
  clientAddress: string;
  /** The command that runs another one at an end. */
  at(end: End): string[];
  /** A process that lives at an end: /proc/PID/net is that end's. */
  pid(end: End): number;
  /** Runs a command at an end and waits for it. */
  run(end: End, ...command: string[]): void;
  /** Drops every packet, both ways, without a word to anybody. */
  cut(): void;
  /** Lets them through again, but for those that come from these TCP ports of the client. */
  heal(stillCut?: readonly string[]): void;
  /** Takes the client's address away and gives it another one. */
  changeClientAddress(address: string): void;
  /** A unix socket, at `path`, that leads to a TCP port of 127.0.0.1 at an end: unix sockets know no network namespaces. */
  reach(end: End, port: number, path: string): Promise<string>;
  /** Makes port `port` of 127.0.0.1 (or ::1) at an end lead to the unix socket `path`. */
  offer(end: End, port: number, path: string, address?: '127.0.0.1' | '::1'): Promise<void>;
  /** Everything ends that lives in the namespaces by this handle, and with it the namespaces. */
  stop(): Promise<void>;
};

/** Why there can be no namespaces here, or null. */
export const whyNoNetns = (): string | null =>
  whyNot('network namespaces', 'root and iproute2', ['unshare', '--net', 'ip', 'link', 'set', 'lo', 'up']);

/**
 * Each namespace lives as long as a process of ours in it, and that dies with us: nothing stays on the machine, even if the test is
 * killed.
 */
export const startNetPath = async (): Promise<NetPath> => {
  const helpers: ChildProcess[] = [];
  const start = (...command: string[]) => {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], { stdio: 'ignore' });
    child.on('error', () => {});
    helpers.push(child);
    return child;
  };
  const holder = async () => {
    const child = start('unshare', '--net', '--', 'sleep', 'infinity');
    await until('a network namespace', () => processOf(child.pid ?? 0)?.name === 'sleep');
    return child.pid ?? 0;
  };
  const pids: Record<End, number> = { client: await holder(), server: await holder() };
  const at = (end: End) => ['nsenter', `--net=/proc/${pids[end]}/ns/net`, '--'];
  const run = (end: End, ...command: string[]) => {
    const [file = '', ...args] = [...at(end), ...command];
    execFileSync(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  };
  const [clientAddress, serverAddress] = ['10.99.0.2', '10.99.0.1'];
  run('client', 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${pids.server}`);
  for (const [end, address] of [
    ['client', clientAddress],
    ['server', serverAddress],
  ] as const) {
    run(end, 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
    run(end, 'ip', 'link', 'set', 'eth0', 'up');
    run(end, 'ip', 'link', 'set', 'lo', 'up');
  }
  let address = clientAddress;

  return {
    ...{ serverAddress, clientAddress, at, run },
    pid: (end) => pids[end],
    cut: () => {
      for (const [chain, way] of [
        ['INPUT', '-i'],
        ['OUTPUT', '-o'],
      ] as const)
        run('server', 'iptables', '-w', '-I', chain, way, 'eth0', '-j', 'DROP');
    },
    heal: (stillCut = []) => {
      for (const port of stillCut)
        run('server', 'iptables', '-w', '-t', 'raw', '-A', 'PREROUTING', '-p', 'tcp', '--sport', port, '-j', 'DROP');
      for (const chain of ['INPUT', 'OUTPUT']) run('server', 'iptables', '-w', '-F', chain);
    },
    changeClientAddress: (next) => {
      run('client', 'ip', 'address', 'del', `${address}/24`, 'dev', 'eth0');
      run('client', 'ip', 'address', 'add', `${next}/24`, 'dev', 'eth0');
      address = next;
    },
    reach: async (end, port, path) => {
      start(...at(end), 'socat', `UNIX-LISTEN:${path},fork`, `TCP:127.0.0.1:${port}`);
      await until(`a way to port ${port}`, () => listensAt(path, `/proc/${pids[end]}/net/unix`));
      return path;
    },
    offer: async (end, port, path, host = '127.0.0.1') => {
      const isOld = host === '127.0.0.1';
      const kind = isOld ? 'TCP4-LISTEN' : 'TCP6-LISTEN';
      start(
        ...at(end),
        'socat',
        `${kind}:${port},bind=${isOld ? host : `[${host}]`},reuseaddr,fork`,
        `UNIX-CONNECT:${path}`,
      );
      const hex = port.toString(16).toUpperCase().padStart(4, '0');
      const entry = isOld ? `0100007F:${hex} ${'0'.repeat(8)}:0000 0A` : `01000000:${hex} ${'0'.repeat(32)}:0000 0A`;
      const table = `/proc/${pids[end]}/net/tcp${isOld ? '' : '6'}`;
      await until(`port ${port}`, () => readFileSync(table, 'latin1').includes(entry));
    },
    stop: async () => {
      for (const { pid } of helpers) {
        const helper = pid === undefined ? undefined : processOf(pid);
        if (helper) for (const one of [...descendantsOf(helper.pid), helper]) signal(one, 'SIGKILL');
      }
      await until('the namespaces to end', () =>
        helpers.every((one) => one.exitCode !== null || one.signalCode !== null),
      );
    },
  };
};
