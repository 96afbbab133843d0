import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { cgroupFolders } from './cgroups.ts';
import { must, run } from './process.ts';
import { marked, runOfLink } from './runs.ts';

/** What could be left of one run on this machine, each kind as lines to show; all empty after a clean end. */
export type Traces = {
  processes: string[];
  mounts: string[];
  links: string[];
  routes: string[];
  cgroups: string[];
  folder: string[];
};

export async function tracesOf(dir: string, net: { hostAddress: string }): Promise<Traces> {
  const id = basename(dir);
  const prefix = net.hostAddress.replace(/\.\d+$/, '.');
  const lines = (text: string, wanted: string) => text.split('\n').filter((line) => line.includes(wanted));
  // Another run may have the addresses by now.
  const others = linksOfOthers(id);
  const own = (line: string) => !line.split(/\s+/).some((word) => others.includes(word));
  return {
    processes: [...new Set([...marked(dir), ...processesWith(id)])].map((pid) => `${pid} ${commandLine(pid)}`),
    mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8'), id),
    links: lines(await must(['ip', '-oneline', 'address']), prefix).filter(own),
    routes: lines(await must(['ip', 'route', 'show', 'table', 'all']), prefix).filter(own),
    cgroups: cgroupFolders(`autossh-${id}`).filter((folder) => existsSync(folder)),
    folder: existsSync(dir) ? readdirSync(dir) : [],
  };
}

function linksOfOthers(id: string): string[] {
  return readdirSync('/sys/class/net').filter((link) => {
    const run = runOfLink(link);
    return run.startsWith('run-') && run !== id;
  });
}

/**
 * What a node would change if it were not kept in its namespaces: the machine's own rules, and the kernel's settings that a kubelet
 * or kube-proxy writes. Counters are left out. A setting may appear with a module of the kernel that the node was the first to need.
 */
export type MachineState = { rules: string[]; settings: Record<string, string> };

export async function machineState(): Promise<MachineState> {
  const tables = await run(['iptables-save']);
  const rules = tables.stdout.split('\n').filter((line) => /KUBE|CNI/.test(line));
  const files = [
    ...['vm/overcommit_memory', 'vm/panic_on_oom', 'kernel/panic', 'kernel/panic_on_oops'],
    ...['kernel/keys/root_maxkeys', 'kernel/keys/root_maxbytes', 'net/netfilter/nf_conntrack_max'],
    ...['net/ipv4/ip_forward', 'net/ipv4/conf/all/route_localnet'],
  ].map((name) => `/proc/sys/${name}`);
  const settings = files.filter(existsSync).map((file) => [file, readFileSync(file, 'utf8').trim()]);
  return { rules, settings: Object.fromEntries(settings) };
}

/** Processes of this machine whose command line has the text, those in containers included. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => commandLine(pid).includes(text));
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // gone meanwhile
  }
}
