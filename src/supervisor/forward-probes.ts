import { setTimeout as pause } from 'node:timers/promises';
import type { TunnelDocument } from '../api/document.ts';
import { firstProbeIn, nextProbeIn, type ProbeResult } from '../tunnel/forward-state.ts';
import { listenerAddress } from '../tunnel/listener-address.ts';
import type { ControlSocket } from './control-socket.ts';
import { type ProbeOptions, probeForward } from './forward-probe.ts';
import { pingHeartbeat } from './heartbeat-ping.ts';
import type { Refusals } from './refusals.ts';

/** The probes of a tunnel's forwards: each on its own period, never two of one forward at a time, none without a connection. */
export type ForwardProbes = {
  /** Makes the running probes those of this document on this connection; null: there is none. To be called at every change. */
  readonly follow: (document: TunnelDocument, connection: ControlSocket | null) => void;
  readonly stop: () => void;
};

export type ForwardProbesOptions = {
  readonly refusals: Refusals;
  /** How long ssh itself may take to take up a forward for our own use, ms. */
  readonly timeoutMs: () => number;
  /** Of ssh's stderr: so many messages may be a probe's, until the result is called. */
  readonly muffle: (lines: number) => () => void;
  /** Told of every outcome of a probe that was not cut short. */
  readonly onResult: (name: string, result: ProbeResult) => void;
};

/** A channel through the listener, and two more that ask what became of it: ssh may say of each that the server refused it. */
const PROBE_MESSAGES = 3;

type Running = { readonly key: string; readonly stop: AbortController };

export const createForwardProbes = (options: ForwardProbesOptions): ForwardProbes => {
  const running = new Map<string, Running>();
  let connection: ControlSocket | null = null;
  let ping: ProbeOptions['ping'] = async () => ({ ok: false, reason: 'Unknown', detail: '', serverAnswered: false });

  const end = (name: string) => {
    running.get(name)?.stop.abort(new Error('no longer probed'));
    running.delete(name);
  };
  const endAll = () => {
    for (const name of [...running.keys()]) end(name);
  };

  const connect = (to: ControlSocket | null) => {
    if (to === connection) return;
    endAll();
    connection = to;
    if (to === null) return;
    ping = pingHeartbeat(
      {
        control: to,
        message: '',
        get timeoutMs() {
          return options.timeoutMs();
        },
        log: () => {},
        expectNoise: () => {},
      },
      '-probe',
    ).within;
  };

  return {
    follow: (document, to) => {
      connect(to);
      if (to === null) return;
      const wanted = new Map(
        probesOf(document).map((one) => [one.forward.name, { ...one, control: to, ping, refusals: options.refusals }]),
      );
      for (const [name, { key }] of running) if (wanted.get(name)?.key !== key) end(name);
      for (const [name, one] of wanted) {
        if (running.has(name)) continue;
        const stop = new AbortController();
        running.set(name, { key: one.key, stop });
        void keepProbing({ ...one, muffle: options.muffle }, (result) => options.onResult(name, result), stop.signal);
      }
    },
    stop: endAll,
  };
};

const keepProbing = async (
  options: ProbeOptions & Pick<ForwardProbesOptions, 'muffle'>,
  onResult: (result: ProbeResult) => void,
  signal: AbortSignal,
): Promise<void> => {
  const periodMs = options.probe.periodSeconds * 1000;
  try {
    await pause(firstProbeIn(periodMs, Math.random()), undefined, { signal });
    while (!signal.aborted) {
      const started = performance.now();
      const over = options.muffle(PROBE_MESSAGES);
      const result = await probeForward(options, signal).finally(over);
      if (signal.aborted) return;
      onResult(result);
      await pause(nextProbeIn(periodMs, performance.now() - started, Math.random()), undefined, { signal });
    }
  } catch (problem) {
    if (!signal.aborted) throw problem;
  }
};

/** The forwards that are to be probed, each with a text that changes when its probe has to start anew. */
const probesOf = ({ forwards, ssh }: TunnelDocument) =>
  forwards.flatMap((forward) =>
    forward.kind === 'local' && forward.probe !== undefined
      ? [
          {
            forward,
            probe: forward.probe,
            listener: listenerAddress(forward.listen, ssh.options),
            key: JSON.stringify([forward, ssh.options.addressFamily]),
          },
        ]
      : [],
  );
