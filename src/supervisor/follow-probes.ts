import type { TunnelDocument } from '../api/document.ts';
import type { JsonLog } from '../telemetry/json-log.ts';
import type { ProbeResult } from '../tunnel/forward-state.ts';
import type { ControlSocket } from './control-socket.ts';
import { createForwardProbes, type ForwardProbesOptions } from './forward-probes.ts';
import type { Refusals } from './refusals.ts';

export type FollowProbesOptions = {
  readonly refusals: Refusals;
  readonly timeoutMs: () => number;
  readonly muffle: ForwardProbesOptions['muffle'];
  readonly log: JsonLog;
  /** There is another outcome in `results`. */
  readonly onChange: () => void;
};

export type FollowedProbes = {
  /** The last outcome of each forward that has a probe. */
  readonly results: ReadonlyMap<string, ProbeResult>;
  /** The forwards in force, and the connection that they are on; null: there is none. */
  readonly follow: (document: TunnelDocument, control: ControlSocket | null) => void;
  readonly stop: () => void;
};

/** Probes the forwards that ask for it, while there is a connection, and tells in the log what is new. */
export const followProbes = ({ refusals, timeoutMs, muffle, log, onChange }: FollowProbesOptions): FollowedProbes => {
  const results = new Map<string, ProbeResult>();
  const probes = createForwardProbes({
    ...{ refusals, timeoutMs, muffle },
    onResult: (forward, result) => {
      const was = results.get(forward);
      results.set(forward, result);
      onChange();
      if (result.ok)
        log.line(was?.ok === true ? 7 : 6, 'probe answered', { forward, tookMs: Math.round(result.tookMs) });
      else {
        const isNews = was === undefined || was.ok || was.reason !== result.reason;
        log.line(isNews ? 4 : 7, 'probe failed', { forward, reason: result.reason, detail: result.detail });
      }
    },
  });
  return {
    results,
    follow: (document, control) => {
      const probed = new Set(document.forwards.flatMap((one) => ('probe' in one ? [one.name] : [])));
      for (const name of [...results.keys()]) if (!probed.has(name)) results.delete(name);
      probes.follow(document, control);
    },
    stop: probes.stop,
  };
};
