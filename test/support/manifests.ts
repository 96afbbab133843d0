import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';

const dir = resolve(import.meta.dirname, '../fixtures/manifests');

export type Manifest = {
  /** File name without its ending. */
  name: string;
  /** What it shows: the first comment. */
  shows: string;
  /** Words that every refusal of it has: the comment `# expected: …`. */
  expected?: string;
  yaml: string;
  object: unknown;
};

/** The manifests of the acceptance table, against which the API server and parseSshTunnel are held. */
export const manifests = (verdict: 'accepted' | 'refused'): Manifest[] =>
  readdirSync(join(dir, verdict))
    .filter((file) => file.endsWith('.yaml'))
    .sort()
    .map((file) => {
      const yaml = readFileSync(join(dir, verdict, file), 'utf8');
      const [first = ''] = yaml.split('\n');
      const expected = /^# expected: (.+)$/m.exec(yaml)?.[1];
      if (!first.startsWith('# ')) throw new Error(`${file}: expected a comment that says what it shows; got ${first}`);
      if (verdict === 'refused' && expected === undefined)
        throw new Error(`${file}: expected a comment "# expected: words of the error"`);
      const name = file.replace(/\.yaml$/, '');
      return {
        name,
        shows: first.slice(2),
        ...(expected === undefined ? {} : { expected }),
        yaml,
        object: parse(yaml),
      };
    });
