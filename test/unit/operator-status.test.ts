import { describe, expect, it } from 'vitest';
import type { Condition } from '../../src/kube/conditions.ts';
import { type Judged, type PodView, statusOf } from '../../src/operator/status.ts';

const NOW = new Date('2026-01-02T03:04:05.678Z');
const up = (name: string, generation = 3): PodView => ({
  name,
  injected: true,
  answer: { connected: true, reason: null, generation },
});
const down = (name: string, reason: string | null): PodView => ({
  name,
  injected: true,
  answer: { connected: false, reason, generation: 3 },
});
const starting = (name: string): PodView => ({ name, injected: true, answer: null });
const silent = (name: string): PodView => ({ name, injected: true, answer: 'unreachable' });
const bare = (name: string): PodView => ({ name, injected: false, answer: null });
const judged = (pods: readonly PodView[], more: Partial<Judged> = {}): Judged => ({
  generation: 3,
  suspended: false,
  refusal: null,
  insecure: false,
  pods,
  ...more,
});
const shown = (input: Judged) =>
  Object.fromEntries(
    statusOf(input, [], NOW).conditions.map(({ type, status, reason }) => [type, `${status} ${reason}`]),
  );

describe('the status of a tunnel', () => {
  it.each<[string, Judged, Record<string, string>]>([
    [
      'all connected',
      judged([up('a'), up('b')]),
      {
        Accepted: 'True Valid',
        Injected: 'True AllInjected',
        Connected: 'True AllConnected',
        Ready: 'True AllConnected',
      },
    ],
    [
      'no pods: nothing is wrong',
      judged([]),
      { Accepted: 'True Valid', Injected: 'True NoPods', Connected: 'Unknown NoPods', Ready: 'True NoPods' },
    ],
    [
      'one down',
      judged([up('a'), down('b', 'AuthFailed')]),
      {
        Accepted: 'True Valid',
        Injected: 'True AllInjected',
        Connected: 'False AuthFailed',
        Ready: 'False AuthFailed',
      },
    ],
    [
      'the most frequent reason',
      judged([down('a', 'AuthFailed'), down('b', 'ConnectTimeout'), down('c', 'ConnectTimeout')]),
      {
        Accepted: 'True Valid',
        Injected: 'True AllInjected',
        Connected: 'False ConnectTimeout',
        Ready: 'False ConnectTimeout',
      },
    ],
    [
      'a pod that cannot be asked is no outage',
      judged([up('a'), silent('b')]),
      {
        Accepted: 'True Valid',
        Injected: 'True AllInjected',
        Connected: 'Unknown StatusUnreachable',
        Ready: 'Unknown StatusUnreachable',
      },
    ],
    [
      'an outage beside a pod that cannot be asked is one',
      judged([down('a', 'HeartbeatLost'), silent('b')]),
      {
        Accepted: 'True Valid',
        Injected: 'True AllInjected',
        Connected: 'False HeartbeatLost',
        Ready: 'False HeartbeatLost',
      },
    ],
    [
      'starting',
      judged([up('a'), starting('b')]),
      { Accepted: 'True Valid', Injected: 'True AllInjected', Connected: 'False Starting', Ready: 'False Starting' },
    ],
    [
      'a pod without the sidecar',
      judged([up('a'), bare('b')]),
      {
        Accepted: 'True Valid',
        Injected: 'False NotInjected',
        Connected: 'False Starting',
        Ready: 'False NotInjected',
      },
    ],
    [
      'suspended',
      judged([down('a', null)], { suspended: true }),
      { Accepted: 'True Valid', Injected: 'True AllInjected', Connected: 'False Suspended', Ready: 'False Suspended' },
    ],
    [
      'refused',
      judged([], { refusal: { reason: 'Invalid', message: 'spec.ssh: …' } }),
      { Accepted: 'False Invalid', Injected: 'True NoPods', Connected: 'Unknown NoPods', Ready: 'False Invalid' },
    ],
    [
      'insecure',
      judged([up('a')], { insecure: true }),
      {
        Accepted: 'True InsecureHostKey',
        Injected: 'True AllInjected',
        Connected: 'True AllConnected',
        Ready: 'True AllConnected',
      },
    ],
  ])('%s', (_, input, expected) => {
    expect(shown(input)).toEqual(expected);
  });

  it('counts pods, also those that run older settings', () => {
    const { connected, pods, observedGeneration } = statusOf(judged([up('a'), up('b', 2), bare('c')]), [], NOW);
    expect({ connected, pods, observedGeneration }).toEqual({
      connected: '2/3',
      pods: { matched: 3, injected: 2, connected: 2, upToDate: 1 },
      observedGeneration: 3,
    });
  });

  it('says what a person can do, and names at most three pods', () => {
    const { conditions } = statusOf(judged(['a', 'b', 'c', 'd'].map((name) => down(name, 'HostKeyChanged'))), [], NOW);
    const message = conditions.find(({ type }) => type === 'Connected')?.message;
    expect(message).toMatch(/^0 of 4 pods connected; not a, b, c and 1 more\. .*known_hosts/);
  });

  it('moves lastTransitionTime only when a status changes', () => {
    const first = statusOf(judged([up('a')]), [], NOW).conditions;
    const later = new Date(NOW.getTime() + 60_000);
    const time = (conditions: readonly Condition[], type: string) =>
      conditions.find((one) => one.type === type)?.lastTransitionTime;
    const second = statusOf(judged([down('a', 'AuthFailed')]), first, later).conditions;
    expect(time(second, 'Accepted')).toBe('2026-01-02T03:04:05Z');
    expect(time(second, 'Connected')).toBe('2026-01-02T03:05:05Z');
    expect(statusOf(judged([up('a')]), first, later).conditions).toEqual(first);
  });
});
