import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const documented = readFileSync(join(root, 'docs/logging.md'), 'utf8');

/** Texts of the lines that a file logs, templates with `…` for what differs. */
const messagesIn = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/(?:log\.line\(\s*[^,'`]+,|message[:=]|\bmessage =)\s*(['`])([^\n]+?)\1/g)]
    .map(([, , text = '']) => text.replace(/\$\{[^}]*\}/g, '…'))
    .concat(
      [...readFileSync(file, 'utf8').matchAll(/[?:] [`'](ssh ended[^`']*)[`']/g)].map(([, text = '']) =>
        text.replace(/\$\{.*?\)\}/g, '…'),
      ),
    );

it('documents every message of a resident tunnel', () => {
  const supervisor = join(root, 'src/supervisor');
  const files = [join(root, 'src/tunnel/narrate.ts'), ...readdirSync(supervisor).map((name) => join(supervisor, name))];
  const messages = new Set(files.flatMap(messagesIn));
  expect(messages).toContain('ssh started');
  expect(messages).toContain('probes, metrics and status');
  expect(messages).toContain('ssh ended; starting again');
  expect(messages.size).toBeGreaterThan(20);
  const missing = [...messages].filter((text) => {
    const [start = ''] = text.split('…');
    return !documented.includes(`\`${start.trimEnd()}`);
  });
  expect(missing).toEqual([]);
});
