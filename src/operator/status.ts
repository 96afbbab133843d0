import { REASON_HELP, type Reason } from '../api/reasons.ts';
import type { Condition } from '../kube/conditions.ts';
import { type NewCondition, setCondition } from '../kube/conditions.ts';

/** What the controller learned of one pod that asks for a tunnel. */
export type PodView = {
  readonly name: string;
  readonly injected: boolean;
  /** Running and asked; null: not running yet. 'unreachable': running, but no answer. */
  readonly answer:
    | { readonly connected: boolean; readonly reason: string | null; readonly generation: number }
    | 'unreachable'
    | null;
};

export const REFUSAL_REASONS = ['Invalid', 'NotImplemented', 'Conflict', 'Forbidden'] as const;

/** Why a tunnel has no ConfigMap. */
export type Refusal = { readonly reason: (typeof REFUSAL_REASONS)[number]; readonly message: string };

export type Judged = {
  readonly generation: number;
  readonly suspended: boolean;
  /** Null: accepted. */
  readonly refusal: Refusal | null;
  readonly insecure: boolean;
  readonly pods: readonly PodView[];
};

export type TunnelStatus = {
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  readonly connected: string;
  readonly pods: {
    readonly matched: number;
    readonly injected: number;
    readonly connected: number;
    readonly upToDate: number;
  };
};

/**
 * The status of a tunnel. A pod that cannot be asked makes Connected Unknown, never False: a NetworkPolicy is not an outage. Without
 * pods there is nothing to connect, and nothing is wrong: waves of a GitOps tool must not wait for each other in a circle.
 */
export const statusOf = (judged: Judged, old: readonly Condition[], now: Date): TunnelStatus => {
  const { generation, pods } = judged;
  const answers = pods.map(({ answer }) => answer).filter((answer) => answer !== null && answer !== 'unreachable');
  const connected = answers.filter((answer) => answer.connected).length;
  const injected = pods.filter((pod) => pod.injected).length;
  const conditions = [acceptedOf(judged), injectedOf(judged), connectedOf(judged, connected)];
  const all = [...conditions, readyOf(conditions)];
  return {
    observedGeneration: generation,
    conditions: all.reduce<readonly Condition[]>(
      (list, condition) => setCondition(list, { ...condition, observedGeneration: generation }, now),
      old,
    ),
    connected: `${connected}/${pods.length}`,
    pods: {
      matched: pods.length,
      injected,
      connected,
      upToDate: answers.filter((answer) => answer.generation >= generation).length,
    },
  };
};

type Draft = Omit<NewCondition, 'observedGeneration'>;

const acceptedOf = ({ refusal, insecure }: Judged): Draft => {
  if (refusal !== null) return { type: 'Accepted', status: 'False', ...refusal };
  if (insecure)
    return {
      type: 'Accepted',
      status: 'True',
      reason: 'InsecureHostKey',
      message: 'Host keys are not checked (insecureSkipVerify): the server can be anybody.',
    };
  return { type: 'Accepted', status: 'True', reason: 'Valid', message: 'The specification was accepted.' };
};

const injectedOf = ({ pods }: Judged): Draft => {
  const without = pods.filter((pod) => !pod.injected).map(({ name }) => name);
  if (pods.length === 0)
    return { type: 'Injected', status: 'True', reason: 'NoPods', message: 'No pod asks for the tunnel.' };
  if (without.length === 0)
    return {
      type: 'Injected',
      status: 'True',
      reason: 'AllInjected',
      message: `All ${pods.length} pods have the sidecar.`,
    };
  return {
    type: 'Injected',
    status: 'False',
    reason: 'NotInjected',
    message: `${without.length} of ${pods.length} pods run without the sidecar: ${some(without)}. They were made before the tunnel asked for them could be injected; restart their workload.`,
  };
};

const connectedOf = ({ pods, suspended, refusal }: Judged, connected: number): Draft => {
  const type = 'Connected';
  if (suspended)
    return { type, status: 'False', reason: 'Suspended', message: 'spec.suspend is true: no connection is wanted.' };
  if (pods.length === 0)
    return {
      type,
      status: 'Unknown',
      reason: 'NoPods',
      message: 'No pod asks for the tunnel: there is nothing to connect.',
    };
  if (connected === pods.length)
    return { type, status: 'True', reason: 'AllConnected', message: `All ${pods.length} pods are connected.` };
  const down = pods.filter(({ answer }) => answer !== null && answer !== 'unreachable' && !answer.connected);
  const silent = pods.filter(({ answer }) => answer === 'unreachable').map(({ name }) => name);
  if (down.length > 0) {
    const reasons = down.map(
      ({ answer }) => (answer !== null && answer !== 'unreachable' ? answer.reason : null) ?? 'Connecting',
    );
    const reason = mostFrequent(reasons);
    const help = Object.hasOwn(REASON_HELP, reason) ? ` ${REASON_HELP[reason as Reason]}` : '';
    return {
      type,
      status: 'False',
      reason,
      message: `${connected} of ${pods.length} pods connected; not ${some(down.map(({ name }) => name))}.${help}`,
    };
  }
  if (silent.length > 0)
    return {
      type,
      status: 'Unknown',
      reason: 'StatusUnreachable',
      message: `Could not ask ${some(silent)}: does a NetworkPolicy or a mesh keep the operator away from their status port?`,
    };
  if (refusal !== null)
    return { type, status: 'Unknown', reason: refusal.reason, message: 'The specification was not accepted.' };
  return {
    type,
    status: 'False',
    reason: 'Starting',
    message: `${connected} of ${pods.length} pods connected; the others are starting.`,
  };
};

const readyOf = ([accepted, injected, connected]: readonly Draft[]): Draft => {
  const type = 'Ready';
  for (const part of [accepted, injected])
    if (part?.status === 'False') return { type, status: 'False', reason: part.reason, message: part.message };
  if (connected === undefined) return { type, status: 'Unknown', reason: 'Unknown', message: '' };
  if (connected.reason === 'NoPods') return { type, status: 'True', reason: 'NoPods', message: connected.message };
  return { type, status: connected.status, reason: connected.reason, message: connected.message };
};

const some = (names: readonly string[]): string =>
  names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;

const mostFrequent = (words: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b))[0]?.[0] ?? 'Unknown';
};
