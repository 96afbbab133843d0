import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { validate } from '../../src/local/validate.ts';

const dir = resolve(import.meta.dirname, '../../deploy/samples/local');

it('every local sample is valid as it is shipped, for a cluster and, with a key and host keys, for a run', () => {
  const text = { streams: new Map(), output: 'text' } as const;
  const { code, out, err } = validate({ ...text, files: [dir], purpose: 'cluster' });
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out.trimEnd().split('\n')).toHaveLength(readdirSync(dir).length);
  for (const name of readdirSync(dir)) {
    const file = join(dir, name);
    expect(readFileSync(file, 'utf8')).toContain(`autossh-operator run -f ${name}`);
    const missing = validate({ ...text, files: [file], purpose: 'run' });
    expect([name, missing.code]).toEqual([name, name === 'all-in-one.yaml' ? 0 : 1]);
  }
});

it('as JSON: everything a program needs, and a program reads it', () => {
  const file = join(dir, 'jump-host.yaml');
  const { code, out, err } = validate({ streams: new Map(), output: 'json', files: [file], purpose: 'run' });
  expect({ code, err }).toEqual({ code: 1, err: '' });
  const { valid, violations, tunnels } = JSON.parse(out);
  expect({ valid, tunnels }).toEqual({ valid: false, tunnels: [] });
  expect(violations[0]).toEqual({
    ...{ file, line: 14, column: 9, document: 'SshTunnel/reports-db', field: 'spec.ssh.identity.secretRef.name' },
    ...{ problem: 'Not found', got: 'nothing' },
    expected: 'Secret "bastion-key" among the files, or --identity PATH in its place',
  });
  expect(violations).toHaveLength(3);
});
