import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, it, type TestContext } from 'vitest';
import { whyNotBarred } from '../support/barred.ts';
import { itWith } from '../support/needs.ts';
import { startNetPath, whyNoNetns } from '../support/netns.ts';
import { freePort } from '../support/port.ts';
import { startSshd } from '../support/sshd.ts';
import { COMMAND_LINE } from './differential/command-line.ts';
import { compare } from './differential/compare.ts';
import { DIFFERENCES } from './differential/differences.ts';
import { ENVIRONMENT } from './differential/environment.ts';
import { HEARTBEAT } from './differential/heartbeat.ts';
import { LOGS } from './differential/logs.ts';
import { REAL_SSH } from './differential/real-ssh.ts';
import { runScenario } from './differential/run.ts';
import type { Scenario, Surroundings } from './differential/scenario.ts';
import { SIGNALS } from './differential/signals.ts';
import { SUPERVISION } from './differential/supervision.ts';
import { whyNoSyslog } from './differential/syslog.ts';

/** The program itself: Debian's /usr/bin/autossh is a script around it that picks a monitor port. */
const ORIGINAL = '/usr/lib/autossh/autossh';
const OURS = fileURLToPath(new URL('../../dist/autossh.cjs', import.meta.url));

const SCENARIOS: readonly Scenario[] = [
  // The long ones first.
  ...[REAL_SSH, SUPERVISION, SIGNALS, HEARTBEAT, LOGS, COMMAND_LINE, ENVIRONMENT].flat(),
];

const noOriginal = existsSync(ORIGINAL)
  ? null
  : `no differential test: expected the original at ${ORIGINAL} (apt-get install autossh)`;
const noNetwork = noOriginal ?? whyNoNetns();
const [notBarred, noSyslog] = [whyNotBarred(), whyNoSyslog()];
const missingFor = ({ inNetwork, barred, syslog }: Scenario): string | null =>
  noOriginal ?? (inNetwork ? noNetwork : null) ?? (barred ? notBarred : null) ?? (syslog ? noSyslog : null);

describe('ours and autossh 1.4g do the same', () => {
  const ends: Array<() => unknown> = [];
  let around: Surroundings;
  beforeAll(async () => {
    if (noOriginal !== null) return;
    const taken = createServer();
    const takenPort = await freePort();
    await new Promise<void>((resolve) => taken.listen(takenPort, '127.0.0.1', resolve));
    ends.push(() => taken.close());
    const network = noNetwork === null ? await startNetPath() : null;
    // The remote shell reads no start-up files of this machine's user.
    const config = ['SetEnv HOME=/nonexistent'];
    const at = { host: network?.serverAddress ?? '', port: 2222, wrap: network?.at('server') ?? [], config };
    const sshd = network && (await startSshd(at));
    ends.push(() => network?.stop());
    ends.push(() => sshd?.stop());
    const net = () => {
      if (network === null || sshd === null) throw new Error(`${noNetwork}`);
      return { network, sshd };
    };
    around = { takenPort, net };
  });
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  const compareBoth = async (scenario: Scenario, { expect }: TestContext) => {
    const [original, ours] = await Promise.all([
      runScenario(scenario, ORIGINAL, around),
      runScenario(scenario, OURS, around),
    ]);
    expect(compare(scenario, original, ours).join('\n\n')).toBe('');
  };
  // Each takes a place of its own, so that many run at a time: as many as vitest's maxConcurrency says.
  describe.concurrent('scenario', () => {
    for (const [missing, scenarios] of Map.groupBy(SCENARIOS, missingFor))
      itWith(missing).for(scenarios)('$id', compareBoth);
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

  it('is what docs/autossh.md says', async ({ expect }) => {
    const docs = await readFile(new URL('../../docs/autossh.md', import.meta.url), 'utf8');
    const said = Object.fromEntries([...docs.matchAll(/^- \*\*(\S+)\*\*: (.*)$/gm)].map(([, id, why]) => [id, why]));
    expect(said).toEqual(DIFFERENCES);
  });
});
