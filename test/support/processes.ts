import { readdirSync, readFileSync } from 'node:fs';

/** A process as Linux tells it apart from a later one of the same number: `started` is field 22 of /proc/PID/stat, in ticks. */
export type Process = { pid: number; parent: number; started: string; state: string; name: string };

export const processOf = (pid: number): Process | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name stands in parentheses and may hold any byte, so the fields are counted from the last parenthesis.
    const open = stat.indexOf('(');
    const close = stat.lastIndexOf(')');
    const fields = stat.slice(close + 2).split(' ');
    const [state = '', parent = '0'] = fields;
    return { pid, parent: Number(parent), started: fields[19] ?? '', state, name: stat.slice(open + 1, close) };
  } catch {
    return undefined;
  }
};

/** Every process below `pid` now, parents before children; `pid` itself is not among them. */
export const descendantsOf = (pid: number): Process[] => {
  const children = new Map<number, Process[]>();
  for (const entry of readdirSync('/proc')) {
    const found = /^\d+$/.test(entry) ? processOf(Number(entry)) : undefined;
    if (found) children.set(found.parent, [...(children.get(found.parent) ?? []), found]);
  }
  const below = (parent: number): Process[] => (children.get(parent) ?? []).flatMap((one) => [one, ...below(one.pid)]);
  return below(pid);
};

/** The same process, still there and not a zombie. */
export const isAlive = ({ pid, started }: Process): boolean => {
  const now = processOf(pid);
  return now !== undefined && now.started === started && now.state !== 'Z' && now.state !== 'X';
};

/** Signals the process if it is still the same one; says whether it was. */
export const signal = (target: Process, name: NodeJS.Signals): boolean => {
  if (!isAlive(target)) return false;
  try {
    return process.kill(target.pid, name);
  } catch {
    return false;
  }
};
