import { describe, expect, it } from 'vitest';
import { hasNews, isLive, type Pod, sidecarIn, trimPod, tunnelNamesOf } from '../../src/operator/tunnel-pod.ts';

const pod = (more: Partial<Pod> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'p',
    namespace: 'n',
    annotations: { 'tunnel.autossh.dev/b': '', 'tunnel.autossh.dev/a': '', other: '' },
  },
  spec: { initContainers: [{ name: 'autossh-a', args: ['autossh-operator', 'sidecar', '--http-port', '9322'] }] },
  ...more,
});
const running = { name: 'autossh-a', state: { running: { startedAt: '2026-01-02T03:04:05Z' } } };

it('reads the tunnels of a pod, sorted', () => {
  expect(tunnelNamesOf(pod())).toEqual(['a', 'b']);
});

it('knows what a sidecar without an address, or not running, is: nothing to ask', () => {
  expect(sidecarIn(pod(), 'b')).toEqual({ state: 'Missing' });
  expect(sidecarIn(pod(), 'a')).toEqual({ state: 'NotRunning' });
  expect(sidecarIn(pod({ status: { initContainerStatuses: [running] } }), 'a')).toEqual({ state: 'NotRunning' });
  expect(sidecarIn(pod({ status: { podIP: '10.0.0.1', initContainerStatuses: [running] } }), 'a')).toEqual({
    state: 'Running',
    host: '10.0.0.1',
    port: 9322,
    startedAt: Date.parse('2026-01-02T03:04:05Z'),
  });
});

it('expects nothing of pods that are over or on their way out', () => {
  expect(isLive(pod())).toBe(true);
  expect(isLive(pod({ status: { phase: 'Succeeded' } }))).toBe(false);
  expect(isLive(pod({ status: { phase: 'Failed' } }))).toBe(false);
  expect(isLive(pod({ metadata: { name: 'p', deletionTimestamp: '2026-01-02T03:04:05Z' } }))).toBe(false);
});

it.each([
  ['Never', [0], false],
  ['Never', [3], false],
  ['Never', [0, null], true],
  ['OnFailure', [0, 0], false],
  ['OnFailure', [3], true],
  ['Always', [0], true],
  [undefined, [0], true],
  ['Never', [], true],
] as const)('expects nothing of a pod (%s) whose containers have ended for good: %j', (restartPolicy, exits, live) => {
  const containerStatuses = exits.map((exitCode, index) => ({
    name: `c${index}`,
    state: exitCode === null ? {} : { terminated: { exitCode } },
  }));
  const one = pod();
  const whole = {
    ...one,
    spec: { ...one.spec, ...(restartPolicy === undefined ? {} : { restartPolicy }) },
    status: { phase: 'Running', containerStatuses },
  };
  expect(isLive(whole)).toBe(live);
  expect(isLive(trimPod(whole))).toBe(live);
  const ruled = { ...whole, spec: { ...whole.spec, containers: [{ restartPolicyRules: [] }] } };
  expect([isLive(ruled), isLive(trimPod(ruled))]).toEqual([true, true]);
});

it('keeps of a pod what it looks at, and nothing else', () => {
  const metadata = { name: 'p', namespace: 'n', uid: 'u', resourceVersion: '7' };
  const annotations = { 'tunnel.autossh.dev/a': '', 'config.autossh.dev/a': 'hash' };
  const sidecar = { name: 'autossh-a', args: ['sidecar', '--http-port', '9322'] };
  const status = { phase: 'Running', podIP: '10.0.0.1', initContainerStatuses: [running] };
  const kept = { metadata: { ...metadata, annotations }, spec: { initContainers: [sidecar] }, status };
  const whole = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...metadata,
      labels: { app: 'shop' },
      annotations: { ...annotations, 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
      managedFields: [{ manager: 'kubectl' }],
    },
    spec: {
      nodeName: 'n1',
      containers: [{ name: 'shop', image: 'shop' }],
      initContainers: [
        { ...sidecar, image: 'i', env: [{ name: 'A', value: 'b' }] },
        { name: 'migrate', args: ['up'] },
      ],
    },
    status: {
      ...status,
      conditions: [{ type: 'Ready' }],
      initContainerStatuses: [{ ...running, imageID: 'sha256:1', restartCount: 1 }, { name: 'migrate' }],
    },
  };
  expect(trimPod(whole)).toEqual(kept);
  // What the controller concludes is the same of both.
  expect(sidecarIn(trimPod(whole), 'a')).toEqual(sidecarIn(whole, 'a'));
  expect(tunnelNamesOf(trimPod(whole))).toEqual(tunnelNamesOf(whole));
  const ending = { ...whole, metadata: { ...whole.metadata, deletionTimestamp: '2026-01-02T03:04:05Z' } };
  expect(isLive(trimPod(ending))).toBe(false);
});

it('keeps of a pod that asks for no tunnel only who it is', () => {
  const left = { ...pod(), metadata: { name: 'p', annotations: {} } };
  expect(trimPod(left)).toEqual({ metadata: { name: 'p', annotations: {} } });
});

describe('an update of a pod', () => {
  const whole: Pod = pod({ status: { phase: 'Running', podIP: '10.0.0.1', initContainerStatuses: [running] } });
  const status = whole.status ?? {};
  const annotations = whole.metadata.annotations ?? {};
  const changed = (more: object): Pod => ({ ...whole, ...more }) as Pod;
  it.each<[string, boolean, Pod]>([
    ['of nothing but its version', false, changed({ metadata: { ...whole.metadata, resourceVersion: '8' } })],
    ['of labels', false, changed({ metadata: { ...whole.metadata, labels: { a: 'b' } } })],
    ['of the conditions', false, changed({ status: { ...status, conditions: [{ type: 'Ready', status: 'True' }] } })],
    ["of the app's container", false, changed({ status: { ...status, containerStatuses: [{ name: 'app' }] } })],
    ['of the tunnels it asks for', true, changed({ metadata: { ...whole.metadata, annotations: { other: '' } } })],
    [
      'of the mark of its configuration',
      true,
      changed({ metadata: { ...whole.metadata, annotations: { ...annotations, 'config.autossh.dev/a': 'x' } } }),
    ],
    ['of its address', true, changed({ status: { ...status, podIP: '10.0.0.2' } })],
    ['of its phase', true, changed({ status: { ...status, phase: 'Succeeded' } })],
    ['of its end', true, changed({ metadata: { ...whole.metadata, deletionTimestamp: '2026-01-02T03:04:05Z' } })],
    [
      "of the sidecar's readiness",
      true,
      changed({ status: { ...status, initContainerStatuses: [{ ...running, ready: true }] } }),
    ],
    [
      "of the sidecar's start",
      true,
      changed({ status: { ...status, initContainerStatuses: [{ name: 'autossh-a', state: {} }] } }),
    ],
  ])('%s: news for its tunnels: %s', (_, expected, now) => {
    expect(hasNews(trimPod(now), trimPod(whole))).toBe(expected);
  });
});
