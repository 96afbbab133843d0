import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** What vitest says of so many tests that fail once, each beside one that passes. */
const runOf = (failing: number) => {
  const dir = mkdtempSync(join(tmpdir(), 'second-tries-'));
  try {
    const flaky = Array.from({ length: failing }, (_, index) => `it('flaky ${index}', once());`);
    const once = 'const once = () => { let tries = 0; return () => expect(tries++).toBe(1); };';
    writeFileSync(join(dir, 'some.test.ts'), `${once}\nit('good', () => {});\n${flaky.join('\n')}\n`);
    const reporter = join(root, 'test/support/second-tries.ts');
    const args = ['run', '--root', dir, '--globals', '--retry=1', `--reporter=${reporter}`];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, 'node_modules/vitest/vitest.mjs'), ...args],
      {
        encoding: 'utf8',
      },
    );
    return { status, said: stdout + stderr };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

describe('tests that need a second try', () => {
  it('are named with what went wrong at first; no others are', () => {
    const { status, said } = runOf(2);
    expect(said).toContain('Passed only at the second try: 2');
    expect(said).toMatch(/some\.test\.ts > flaky 0\n {4}AssertionError: expected \+?0 to be 1/);
    expect(said).toContain('flaky 1');
    expect(said).not.toContain('good');
    expect(status).toBe(0);
  });

  it('fail the run when they are many, and are not spoken of where there are none', () => {
    expect(runOf(4)).toMatchObject({ status: 1, said: expect.stringContaining('expected at most 3') });
    expect(runOf(0)).toEqual({ status: 0, said: '' });
  });
});
