import { type Answer, type HttpServer, serveHttp } from '../telemetry/http-server.ts';
import type { TunnelMetrics } from '../telemetry/metrics.ts';
import type { ForwardState } from '../tunnel/forward-state.ts';
import type { ResidentState } from '../tunnel/resident-state.ts';
import type { Whole } from '../tunnel/whole.ts';
import type { ResidentConfig } from './resident-config.ts';

/** What the probes and the status tell; asked at each request. */
export type ResidentView = {
  readonly state: ResidentState;
  /** Bytes go round and every forward is in place: what the probes and the status call connected. */
  readonly whole: Whole;
  readonly tunnel: string;
  readonly generation: number;
  /** The heartbeat in force; null before there was an ssh. */
  readonly method: string | null;
  readonly forwards: readonly ForwardState[];
  /** Why the newest configuration is not in force; null: it is. */
  readonly configProblem: string | null;
  /** Whether a startup probe has to wait for the first beat. */
  readonly waitsForTunnel: boolean;
  /** Why the supervisor is to be restarted; null: it is well. An outage of the tunnel is no such reason. */
  readonly unwell: string | null;
  /** What it runs; null before there is a configuration. */
  readonly config: ResidentConfig | null;
};

/**
 * The pod's view of the tunnel: probes, metrics, and a status without hosts, users or words of ssh, since whoever reaches the pod can
 * read it.
 */
export const serveResident = (
  view: () => ResidentView,
  metrics: Pick<TunnelMetrics, 'text'>,
  listen: { host?: string | undefined; port: number },
): Promise<HttpServer> =>
  serveHttp(
    {
      '/startupz': () => startup(view()),
      '/livez': () => {
        const { unwell } = view();
        return unwell === null ? ok('ok') : notYet(unwell);
      },
      '/readyz': () => {
        const { state, whole } = view();
        return whole.connected
          ? ok('connected')
          : notYet(state.suspended ? 'suspended' : (whole.reason ?? 'not connected'));
      },
      '/metrics': async () => {
        const { body, type } = await metrics.text();
        return { status: 200, body, type };
      },
      '/status': () => ({ status: 200, body: `${JSON.stringify(podStatus(view()))}\n`, type: 'application/json' }),
    },
    listen,
  );

const startup = ({ state, whole, waitsForTunnel }: ResidentView): Answer =>
  !waitsForTunnel || whole.everConnected || state.suspended
    ? ok('started')
    : notYet(whole.reason ?? 'no heartbeat yet');

const ok = (body: string): Answer => ({ status: 200, body: `${body}\n` });
const notYet = (body: string): Answer => ({ status: 503, body: `${body}\n` });

/** What the controller reads from every pod. Fields are only ever added. */
export type PodStatus = {
  readonly tunnel: string;
  readonly connected: boolean;
  readonly suspended: boolean;
  readonly reason: string | null;
  readonly generation: number;
  readonly configAccepted: boolean;
  /** null before there was an ssh. */
  readonly heartbeatMethod: string | null;
  /** How many forwards the tunnel has, and how many of them are up. */
  readonly forwards: number;
  readonly forwardsUp: number;
  readonly connectedSince: string | null;
  readonly lastHeartbeat: string | null;
  readonly sshStarts: number;
  readonly disconnects: number;
};

export const podStatus = ({
  state,
  whole,
  tunnel,
  generation,
  method,
  forwards,
  configProblem,
}: ResidentView): PodStatus => ({
  tunnel,
  connected: whole.connected,
  suspended: state.suspended,
  reason: whole.reason,
  generation,
  configAccepted: configProblem === null,
  heartbeatMethod: method,
  forwards: forwards.length,
  forwardsUp: forwards.filter(({ up }) => up).length,
  connectedSince: time(whole.connected ? state.connectedSince : null),
  lastHeartbeat: time(state.lastBeatAt),
  sshStarts: state.starts,
  disconnects: state.failures,
});

export const time = (unixMs: number | null): string | null => (unixMs === null ? null : new Date(unixMs).toISOString());
