import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runToItsEnd } from './child.mjs';

/** Runs vitest and closes with one plain line of totals, which a machine reads where vitest's own summary is for people. */
const dir = mkdtempSync(join(tmpdir(), 'autossh-test-'));
const results = join(dir, 'results.json');
const status = await runToItsEnd(process.execPath, [
  'node_modules/vitest/vitest.mjs',
  'run',
  '--reporter=default',
  '--reporter=json',
  '--reporter=test/support/second-tries.ts',
  `--outputFile.json=${results}`,
  ...process.argv.slice(2),
]);
if (!existsSync(results)) {
  rmSync(dir, { recursive: true, force: true });
  console.error('vitest ended without results');
  process.exit(status || 1);
}
type Results = { numPassedTests: number; numFailedTests: number; numPendingTests: number; success: boolean };
const totals = JSON.parse(readFileSync(results, 'utf8')) as Results;
rmSync(dir, { recursive: true, force: true });
// What failed besides tests (a hook, too many second tries) counts as one.
const failed = totals.numFailedTests || (totals.success && status === 0 ? 0 : 1);
const skipped = totals.numPendingTests > 0 ? `, ${totals.numPendingTests} skipped` : '';
console.log(`${totals.numPassedTests} passed, ${failed} failed${skipped}`);
process.exit(status || (failed > 0 ? 1 : 0));
