import { readFileSync } from 'node:fs';

/** What a process has used: memory now in MB (2^20 bytes), processor time since its start. */
export type Cost = { readonly rssMb: number; readonly anonymousMb: number; readonly cpuSeconds: number };

/** USER_HZ of /proc: 100 on all architectures that Node runs on. */
const TICKS_PER_SECOND = 100;

export const costOf = (pid: number | undefined): Cost => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const megabytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    rssMb: megabytes('VmRSS'),
    anonymousMb: megabytes('RssAnon'),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
  };
};
