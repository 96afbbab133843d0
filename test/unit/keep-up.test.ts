import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { REASONS } from '../../src/api/reasons.ts';
import { keepUp } from '../../src/supervisor/keep-up.ts';
import { createJsonLog } from '../../src/telemetry/json-log.ts';
import { createTunnelMetrics } from '../../src/telemetry/metrics.ts';
import { residentSettings } from '../../src/tunnel/resident-settings.ts';
import { documentWith } from '../support/tunnels.ts';

it('takes a configuration that came between its first reading and the first watching', async ({ onTestFinished }) => {
  const root = mkdtempSync(join(tmpdir(), 'keep-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const config = (generation: number) => {
    const document = { ...documentWith({ suspend: true }), generation };
    return { document, ...residentSettings(document, []).settings };
  };
  const stop = new AbortController();
  const resident = keepUp({
    first: config(1),
    readConfig: () => ({ ok: true, config: config(2), warnings: [] }),
    ...{ env: {}, root, warn: () => {}, stop: stop.signal },
    log: createJsonLog({ write: () => {}, flush: async () => {} }, {}),
    metrics: createTunnelMetrics('orders-db', 'test', REASONS),
  });
  expect(resident.view().generation).toBe(2);
  stop.abort(15);
  expect(await resident.done).toBe(0);
});
