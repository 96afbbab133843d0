import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What a fake ssh does at one start. `stay`: until a signal ends it; `deaf`: stays and ignores SIGTERM; `exit N`; `signal N`: is
 * killed by it; `ssh`: becomes the real one. Exits come 0.3 s after the start (or `after S`), because the original autossh logs
 * differently from run to run when its child ends at once.
 */
export type Step = 'stay' | 'deaf' | 'ssh' | `exit ${number}` | `after ${number} exit ${number}` | `signal ${number}`;

/** One start of the fake ssh, as it saw itself. */
export type Start = {
  readonly pid: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Ignored and blocked signals, as a child of the fake inherits them. */
  readonly signals: string;
};

export type FakeSsh = { readonly path: string; readonly starts: () => Start[] };

/** Writes a fake ssh below `dir` that records how it was started and then acts as its script says; the last step repeats. */
export const makeFakeSsh = (dir: string, steps: readonly Step[]): FakeSsh => {
  const path = join(dir, 'ssh');
  const starts = join(dir, 'starts');
  mkdirSync(starts);
  const cases = steps.map((step, index) => `${index === steps.length - 1 ? '*' : index + 1}) ${shell(step)};;`);
  const deaf = steps.flatMap((step, index) => (step === 'deaf' ? [index + 1] : []));
  writeFileSync(
    path,
    `#!/bin/sh
n=1; while [ -e '${starts}'/$n ]; do n=$((n+1)); done
case $n in ${[...deaf, 'none'].join('|')}) trap '' TERM;; esac
new='${starts}'/.new
mkdir "$new"
echo $$ >"$new/pid"
date +%s%3N >"$new/at"
readlink /proc/$$/cwd >"$new/cwd"
cat /proc/$$/environ >"$new/environ"
grep -E 'Sig(Ign|Blk)' /proc/self/status >"$new/signals"
for word; do printf '%s\\0' "$word"; done >"$new/argv"
mv "$new" '${starts}'/$n
case $n in
${cases.join('\n')}
esac
`,
  );
  chmodSync(path, 0o755);
  return { path, starts: () => readStarts(starts) };
};

const shell = (step: Step): string => {
  const [word = '', first = '', , second = ''] = step.split(' ');
  switch (word) {
    case 'exit':
      return `sleep 0.3; exit ${first}`;
    case 'after':
      return `sleep ${first}; exit ${second}`;
    case 'signal':
      return `sleep 0.3; kill -${first} $$`;
    case 'ssh':
      return 'exec ssh "$@"';
    default:
      return 'exec sleep 3600';
  }
};

const readStarts = (dir: string): Start[] => {
  const found: Start[] = [];
  if (!existsSync(dir)) return found;
  const numbers = readdirSync(dir).filter((name) => /^\d+$/.test(name));
  for (const name of numbers.sort((a, b) => Number(a) - Number(b))) {
    const read = (file: string) => readFileSync(join(dir, name, file), 'utf8');
    const words = (text: string) => text.split('\0').slice(0, -1);
    found.push({
      pid: Number(read('pid')),
      at: Number(read('at')),
      argv: words(read('argv')),
      cwd: read('cwd').trim(),
      env: Object.fromEntries(words(read('environ')).map((entry) => entry.split(/=(.*)/s).slice(0, 2))),
      signals: read('signals').replaceAll(/\s+/g, ' ').trim(),
    });
  }
  return found;
};
