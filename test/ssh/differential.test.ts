import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { COMMAND_LINE } from './differential/command-line.ts';
import { compare } from './differential/compare.ts';
import { DIFFERENCES } from './differential/differences.ts';
import { ENVIRONMENT } from './differential/environment.ts';
import { HEARTBEAT } from './differential/heartbeat.ts';
import { LOGS } from './differential/logs.ts';
import { runScenario } from './differential/run.ts';
import type { Scenario } from './differential/scenario.ts';
import { SIGNALS } from './differential/signals.ts';
import { SUPERVISION } from './differential/supervision.ts';

/** The program itself: Debian's /usr/bin/autossh is a script around it that picks a monitor port. */
const ORIGINAL = '/usr/lib/autossh/autossh';
const OURS = fileURLToPath(new URL('../../dist/autossh.cjs', import.meta.url));

const SCENARIOS: readonly Scenario[] = [
  ...COMMAND_LINE,
  ...ENVIRONMENT,
  ...SUPERVISION,
  ...SIGNALS,
  ...HEARTBEAT,
  ...LOGS,
];

const isThere = existsSync(ORIGINAL);
if (!isThere) console.warn(`differential test not run: expected the original at ${ORIGINAL} (apt-get install autossh)`);

describe.skipIf(!isThere && !process.env['CI'])('ours and autossh 1.4g do the same', () => {
  let sshd: Sshd;
  beforeAll(async () => {
    sshd = await startSshd();
  });
  afterAll(async () => {
    await sshd?.stop();
  });

  describe.concurrent('scenario', () => {
    it.for(SCENARIOS)('$id', async (scenario, { expect }) => {
      const [original, ours] = await Promise.all([
        runScenario(scenario, ORIGINAL, sshd),
        runScenario(scenario, OURS, sshd),
      ]);
      expect(compare(scenario, original, ours).join('\n\n')).toBe('');
    });
  });
});

describe('the table', () => {
  it('names every scenario once, and there are at least 40', ({ expect }) => {
    expect(new Set(SCENARIOS.map(({ id }) => id)).size).toBe(SCENARIOS.length);
    expect(SCENARIOS.length).toBeGreaterThanOrEqual(40);
  });

  it('proves every named difference', ({ expect }) => {
    const proven = new Set(SCENARIOS.flatMap(({ differs = {} }) => Object.keys(differs)));
    expect([...proven].sort()).toEqual(Object.keys(DIFFERENCES).sort());
  });
});
