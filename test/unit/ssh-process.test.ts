import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startSsh } from '../../src/supervisor/ssh-process.ts';
import { processOf } from '../support/processes.ts';
import { until } from '../support/until.ts';

/** The process does nothing, not even look at its pipes and timers, as on a machine that is too busy. */
const halt = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

it('has read the last words before it tells of the end, also after a halt', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ssh-process-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const go = join(dir, 'go');
  let said = '';
  let told: string | null = null;
  const ssh = startSsh({
    ...{ path: '/bin/sh', env: { PATH: process.env['PATH'] }, attached: false },
    // A helper of ssh holds its stderr open, and says something while we do not look.
    args: ['-c', '(until [ -e "$0" ]; do sleep 0.01; done; echo late >&2; exec sleep 3) & exit 255', go],
    onStderr: (chunk) => {
      said += Buffer.from(chunk).toString();
    },
    onExit: ({ code }) => {
      told = `${code} after ${JSON.stringify(said)}`;
    },
  });
  if ('spawnError' in ssh) throw new Error(ssh.spawnError);
  await until('ssh to be gone', () => processOf(ssh.pid) === undefined, { everyMs: 1 });
  writeFileSync(go, '');
  // Where timers are what comes next.
  await new Promise(setImmediate);
  halt(1_500);
  await until('its end to be told', () => told);
  expect(told).toBe('255 after "late\\n"');
});
