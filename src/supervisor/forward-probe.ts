import type { DocumentForward } from '../api/document.ts';
import type { ProbeResult } from '../tunnel/forward-state.ts';
import type { ListenerAddress } from '../tunnel/listener-address.ts';
import type { ControlSocket } from './control-socket.ts';
import { probeHttp } from './forward-probe-http.ts';
import { probeTcp } from './forward-probe-tcp.ts';
import type { Beat } from './heartbeat.ts';
import type { Refusals } from './refusals.ts';

export type LocalForward = Extract<DocumentForward, { kind: 'local' }>;
export type Probe = NonNullable<LocalForward['probe']>;

/** What a probe works with: the living connection, and the forward's own listener. */
export type ProbeOptions = {
  readonly forward: LocalForward;
  readonly probe: Probe;
  readonly listener: ListenerAddress;
  readonly control: ControlSocket;
  /** Asks for any answer of the server. */
  readonly ping: (timeoutMs: number, signal: AbortSignal) => Promise<Beat>;
  readonly refusals: Refusals;
};

/** One look at what a forward leads to, over within the probe's own timeout. Never rejects; ends early with the signal. */
export const probeForward = (options: ProbeOptions, signal: AbortSignal): Promise<ProbeResult> => {
  const timeoutMs = options.probe.timeoutSeconds * 1000;
  return options.probe.kind === 'http' ? probeHttp(options, timeoutMs, signal) : probeTcp(options, timeoutMs, signal);
};
