import type { Log } from '../kube/log.ts';
import type { OperatorMeter } from './metrics.ts';
import { REFUSAL_REASONS, type Refusal } from './status.ts';

/** The tunnels that are refused now. */
export type Refusals = {
  /** What became of a tunnel, at each reconciliation; null where it is not refused, or is there no more. `log` names the tunnel. */
  readonly note: (key: string, refusal: Refusal | null, log: Log) => void;
};

/**
 * Counts refused tunnels, and has one line for each change: a tunnel is judged anew every few seconds, and its author is told in the
 * status, but who looks after the operator sees only this. What it holds is bounded by the tunnels that are refused.
 */
export const createRefusals = (meter: OperatorMeter): Refusals => {
  const refused = new Map<string, Refusal>();
  const show = (reason: Refusal['reason']) => {
    const count = [...refused.values()].filter((one) => one.reason === reason).length;
    meter.set('autossh_operator_refused_tunnels', { reason }, count);
  };
  for (const reason of REFUSAL_REASONS) show(reason);
  return {
    note: (key, refusal, log) => {
      const before = refused.get(key);
      if (before?.reason === refusal?.reason && before?.message === refusal?.message) return;
      if (refusal === null) refused.delete(key);
      else refused.set(key, refusal);
      for (const { reason } of [before, refusal].filter((one) => one != null)) show(reason);
      if (refusal !== null) log('warn', 'tunnel refused', refusal);
    },
  };
};
