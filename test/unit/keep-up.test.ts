import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { keepUp } from '../../src/supervisor/keep-up.ts';
import type { ResidentConfig } from '../../src/supervisor/resident-config.ts';
import { createJsonLog } from '../../src/telemetry/json-log.ts';
import { createTunnelMetrics } from '../../src/telemetry/metrics.ts';
import { residentSettings } from '../../src/tunnel/resident-settings.ts';
import { documentWith } from '../support/tunnels.ts';

/** Suspended: no ssh is needed for it. */
const configOf = (generation: number): ResidentConfig => {
  const document = { ...documentWith({ suspend: true }), generation };
  return { ...residentSettings(document, []).settings, document };
};

it('misses no configuration that comes between the first reading and the first watch', async () => {
  const root = mkdtempSync(join(tmpdir(), 'keep-up-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const stop = new AbortController();
  const resident = keepUp({
    first: configOf(1),
    readConfig: () => ({ ok: true, config: configOf(2), warnings: [] }),
    ...{ env: {}, root, warn: () => {}, stop: stop.signal },
    log: createJsonLog({ write: () => {}, flush: async () => {} }, {}),
    metrics: createTunnelMetrics('orders-db', '0', []),
  });
  expect(resident.view()).toMatchObject({ generation: 2, state: { suspended: true } });
  stop.abort(15);
  expect(await resident.done).toBe(0);
});
