import type { Labels, MetricDefinition } from '../kube/meter.ts';

/** What the operator shows beside METRICS of its runtime, which know nothing of tunnels. Only the leader's are not 0. */
export const OPERATOR_METRICS = {
  autossh_operator_refused_tunnels: {
    type: 'gauge',
    help: 'SshTunnels that are not provided, by the reason of their condition Accepted',
    labels: ['reason'],
  },
} as const satisfies Record<string, MetricDefinition>;

/** Where the operator counts its own. */
export type OperatorMeter = {
  readonly set: (metric: keyof typeof OPERATOR_METRICS, labels: Labels, value: number) => void;
};
