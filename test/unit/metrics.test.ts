import { expect } from 'vitest';
import { REASONS } from '../../src/api/reasons.ts';
import { METRICS } from '../../src/kube/meter.ts';
import { OPERATOR_METRICS } from '../../src/operator/metrics.ts';
import { createTunnelMetrics, registerMetrics, TUNNEL_METRICS } from '../../src/telemetry/metrics.ts';
import { itWith } from '../support/needs.ts';
import { metricsProblems, promtoolMissing } from '../support/promtool.ts';

const it = itWith(promtoolMissing);

it('promtool finds what is wrong with a metric, else it would find nothing with ours', () => {
  expect(metricsProblems('# TYPE beatMilliseconds counter\nbeatMilliseconds 1\n')).toMatch(/^exit 3\n/);
});

it("is content with a tunnel's metrics, from the start and with everything counted", async () => {
  const metrics = createTunnelMetrics('orders-db', '1.2.3', REASONS);
  expect(metricsProblems((await metrics.text()).body)).toBe('');
  metrics.up(true);
  metrics.forwards([{ name: 'pg', up: true }]);
  metrics.heartbeat(0.003, 1_700_000_000);
  // A beat that was waited for while bytes flowed.
  metrics.heartbeat(45, 1_700_000_050);
  metrics.started();
  metrics.disconnected('HeartbeatLost');
  metrics.backoff(2.5);
  metrics.connectedFor(1);
  metrics.method('Loop');
  metrics.configuration({ generation: 7, suspended: false, insecureHostKey: false });
  const { body } = await metrics.text();
  expect(metricsProblems(body)).toBe('');
  for (const name of Object.keys(TUNNEL_METRICS)) expect(body).toContain(`\n# TYPE ${name} `.trimStart());
  const within = (seconds: number) => new RegExp(`_rtt_seconds_bucket\\{le="${seconds}",.*\\} (\\d)`).exec(body)?.[1];
  expect([5, 10, 30, 60].map(within)).toEqual(['1', '1', '1', '2']);
  // No label whose values nobody can count: a series for each reason and forward, and that is all.
  expect(body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length).toBeLessThan(64);
});

it("is content with the controller's metrics, each of them counted", async () => {
  const all = { ...METRICS, ...OPERATOR_METRICS };
  const meter = registerMetrics(all);
  for (const [name, { type, labels }] of Object.entries(all)) {
    const values = Object.fromEntries(labels.map((label) => [label, 'some']));
    if (type === 'counter') meter.count(name, values);
    else if (type === 'gauge') meter.set(name, values, 1);
    else meter.observe(name, values, 0.1);
  }
  const { body } = await meter.text();
  expect(metricsProblems(body)).toBe('');
  for (const name of Object.keys(all)) expect(body).toContain(`# TYPE ${name} `);
});
