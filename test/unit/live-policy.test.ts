import { describe, expect, it } from 'vitest';
import { connectDeadlineMs, livePolicy } from '../../src/supervisor/live-policy.ts';
import type { ResidentConfig } from '../../src/supervisor/resident-config.ts';
import { newTunnel } from '../../src/tunnel/machine.ts';
import { residentSettings } from '../../src/tunnel/resident-settings.ts';
import { documentWith } from '../support/tunnels.ts';

const configOf = (spec: Parameters<typeof documentWith>[0]): ResidentConfig => {
  const document = documentWith(spec);
  return { ...residentSettings(document, []).settings, document };
};

describe('the policy of a tunnel whose configuration changes', () => {
  const hop = { host: 'edge.example.com', user: 'hop', identity: { secretRef: { name: 'edge-key' } } };
  let config = configOf({ heartbeat: { failureThreshold: 2 }, ssh: { options: { connectTimeoutSeconds: 1 } } });
  const policy = livePolicy(() => config, { bornAt: 0, notBefore: 0 });
  const beating = { ...newTunnel(0), state: 'Connected' } as const;
  const nextBeat = () => policy.nextAlarmAt(beating, { at: 0, random: 0 });

  it('decides by the configuration that is in force at each decision', () => {
    expect([policy.failureThreshold, policy.connectDeadlineMs, nextBeat()]).toEqual([2, 11_000, 5_000]);
    config = configOf({
      heartbeat: { failureThreshold: 8, periodSeconds: 9 },
      ssh: { options: { connectTimeoutSeconds: 120 }, jumpHosts: [hop] },
    });
    expect([policy.failureThreshold, nextBeat()]).toEqual([8, 9_000]);
    expect(policy.connectDeadlineMs).toBe(connectDeadlineMs(config));
    expect(policy.connectDeadlineMs).toBeGreaterThan(130_000);
  });
});
