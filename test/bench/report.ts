import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

export type Goal = { readonly goal: string; readonly measured: string; readonly met: boolean };

/** What one bench has to say. */
export type Section = {
  readonly title: string;
  /** What was done, and how to read it. */
  readonly about: string;
  readonly table: { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] };
  readonly goals: readonly Goal[];
  /** The figures for a machine to read. */
  readonly rows: readonly object[];
};

type Stored = Section & { readonly date: string; readonly machine: string };

const JSON_FILE = 'docs/benchmarks.json';
const TEXT_FILE = 'docs/benchmarks.md';
/** In this order. */
const SECTIONS = ['drop-in', 'resident', 'controller'] as const;

/**
 * Puts one bench's results into docs/benchmarks.json, and renders docs/benchmarks.md anew from it; the other benches' stay. A run with
 * options of its own is only shown: the docs have what the goals are about.
 */
export const report = (id: (typeof SECTIONS)[number], section: Section): void => {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}`;
  const old = existsSync(JSON_FILE) ? (JSON.parse(readFileSync(JSON_FILE, 'utf8')) as Record<string, Stored>) : {};
  const all = { ...old, [id]: { date: new Date().toISOString(), machine, ...section } };
  const stored = SECTIONS.flatMap((name) => (all[name] === undefined ? [] : [all[name]]));
  console.log(render(all[id] as Stored).join('\n'));
  if (process.argv.length > 2) {
    console.log(`\n${TEXT_FILE} stays as it was: this was no run with the defaults`);
    return;
  }
  writeFileSync(JSON_FILE, `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(TEXT_FILE, ['# Benchmarks', ...stored.flatMap(render), ''].join('\n'));
};

const render = ({ title, about, date, machine, table, goals }: Stored): string[] => [
  '',
  `## ${title}`,
  '',
  `${about} Last run: ${date.slice(0, 10)}, ${machine}.`,
  '',
  line(table.head),
  line(table.head.map((name, index) => (index === 0 || name === 'who' || name === 'met' ? '---' : '---:'))),
  ...table.rows.map(line),
  '',
  line(['goal', 'measured', 'met']),
  line(['---', '---:', '---']),
  ...goals.map(({ goal, measured, met }) => line([goal, measured, met ? 'yes' : '**no**'])),
];

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** The value below which the share `q` of the values lies. */
export const quantile = (values: readonly number[], q: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
};
