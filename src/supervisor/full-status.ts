import type { DocumentForward, TunnelDocument } from '../api/document.ts';
import type { ForwardStatus, StatusPageData } from '../telemetry/status-page-data.ts';
import type { ForwardState } from '../tunnel/forward-state.ts';
import { type PodStatus, podStatus, type ResidentView, time } from './resident-http.ts';

/**
 * Everything of a tunnel that a person may want to know who can reach the pod's loopback: hosts, users and ssh's own words too, but
 * nothing of keys.
 */
export type FullStatus = Omit<PodStatus, 'forwards'> & StatusPageData;

export const fullStatus = (view: ResidentView, version: string, unixMs: number): FullStatus => {
  const { state, config, configProblem } = view;
  const { past } = state;
  const document = config?.document;
  return {
    ...podStatus(view),
    version,
    now: iso(unixMs),
    namespace: document?.namespace ?? '',
    phase: past.phase,
    phaseSince: time(past.phaseSince),
    nextStart: time(past.nextStartAt),
    detail: state.detail,
    configProblem,
    path: document === undefined ? [] : pathOf(document),
    hostKeyVerified: document?.knownHosts.every(({ source }) => source !== 'Insecure') ?? true,
    heartbeat:
      config === null
        ? null
        : {
            method: view.method,
            wanted: config.method,
            periodSeconds: config.periodMs / 1000,
            timeoutSeconds: config.timeoutMs / 1000,
            failureThreshold: config.failureThreshold,
          },
    beats: past.beats.map(({ at, rttMs }) => ({ at: iso(at), rttMs: rttMs === null ? null : round(rttMs) })),
    forwards: (document?.forwards ?? []).map((forward) =>
      forwardStatus(
        forward,
        view.forwards.find(({ name }) => name === forward.name),
      ),
    ),
    failures: past.failures.map(({ reason, detail, firstAt, lastAt, count, lines }) => ({
      ...{ reason, detail, first: iso(firstAt), last: iso(lastAt), count, lines },
    })),
  };
};

const pathOf = ({ jumpHosts, ssh }: TunnelDocument): string[] =>
  [...jumpHosts, ssh].map(({ user, host, port }) => `${user}@${place({ host, port })}`);

const forwardStatus = (forward: DocumentForward, state: ForwardState | undefined): ForwardStatus => ({
  ...{ name: forward.name, kind: forward.kind, listen: place(forward.listen) },
  ...{ up: state?.up ?? false, reason: state?.reason ?? null },
  target: forward.kind === 'dynamic' ? null : place(forward.target),
});

const place = (at: { readonly host: string; readonly port: number } | { readonly path: string }): string =>
  'path' in at ? at.path : `${at.host.includes(':') ? `[${at.host}]` : at.host}:${at.port}`;

const iso = (unixMs: number): string => new Date(unixMs).toISOString();
const round = (ms: number): number => Math.round(ms * 100) / 100;
