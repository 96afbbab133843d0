import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs vitest and closes with one plain line of totals, which a machine reads where vitest's own summary is for people. */
const dir = mkdtempSync(join(tmpdir(), 'autossh-test-'));
const results = join(dir, 'results.json');
const vitest = spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=json',
    '--reporter=test/support/second-tries.ts',
    `--outputFile.json=${results}`,
    ...process.argv.slice(2),
  ],
  { stdio: 'inherit' },
);
if (!existsSync(results)) {
  console.error('vitest ended without results');
  process.exit(vitest.status || 1);
}
type Results = { numPassedTests: number; numFailedTests: number; numPendingTests: number; success: boolean };
const totals = JSON.parse(readFileSync(results, 'utf8')) as Results;
rmSync(dir, { recursive: true, force: true });
// What failed besides tests (a hook, too many second tries) counts as one.
const failed = totals.numFailedTests || (totals.success && vitest.status === 0 ? 0 : 1);
const skipped = totals.numPendingTests > 0 ? `, ${totals.numPendingTests} skipped` : '';
console.log(`${totals.numPassedTests} passed, ${failed} failed${skipped}`);
process.exit(vitest.status ?? 1);
