import { readFileSync } from 'node:fs';

/** Which process a run belongs to, so that another process can tell later whether it still lives. */
export type Owner = { pid: number; startTime: string; bootId: string };

export function thisProcess(): Owner {
  return { pid: process.pid, startTime: startTime(process.pid) ?? '', bootId: bootId() };
}

/** A pid alone says nothing: it is given again. With its start time and the boot it names one process for ever. */
export function isAlive(owner: Owner): boolean {
  return owner.bootId === bootId() && startTime(owner.pid) === owner.startTime;
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Undefined for a process that is gone, or ended and not yet waited for. */
export function startTime(pid: number): string | undefined {
  const { state, startTime } = stat(pid) ?? {};
  return state === 'Z' ? undefined : startTime;
}

export function parent(pid: number): number | undefined {
  return stat(pid)?.parent;
}

function stat(pid: number): { state: string; parent: number; startTime: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the command in parentheses and may hold spaces and parentheses itself: count from its end.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', parent: Number(fields[1]), startTime: fields[19] ?? '' };
}
