import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Names and help of everything a tunnel counts; dashboards, alerts and docs use the same constants. Times are in seconds. */
export const TUNNEL_METRICS = {
  autossh_tunnel_up:
    'Whether bytes go round through the tunnel: 1 since the last heartbeat that came back, 0 without a connection.',
  autossh_forward_up: 'Whether a forward of the tunnel is in place and its last probe, if it has one, was answered.',
  autossh_heartbeat_rtt_seconds: 'Round-trip time of heartbeats through the tunnel.',
  autossh_last_heartbeat_timestamp_seconds: 'When the last heartbeat came back, as Unix time; 0 before the first.',
  autossh_ssh_starts_total: 'How many ssh have run.',
  autossh_disconnects_total: 'Connections lost and connection attempts failed, by reason.',
  autossh_backoff_seconds: 'The pause before the next start of ssh; 0 while there is none.',
  autossh_connected_seconds_total: 'Time for which the tunnel was connected.',
  autossh_heartbeat_method: 'The heartbeat in force: 1 at its method.',
  autossh_config_generation: 'Generation of the SshTunnel that this supervisor runs.',
  autossh_suspended: 'Whether the tunnel is suspended: 1 means it is down on purpose.',
  autossh_insecure_host_key: 'Whether the host key of the server is not verified.',
  autossh_build_info: 'A constant 1, labelled with the version.',
} as const;

/** What a supervisor tells of its tunnel as it goes. */
export type TunnelMetrics = {
  up(isUp: boolean): void;
  forwards(all: readonly { readonly name: string; readonly up: boolean }[]): void;
  heartbeat(rttSeconds: number, unixSeconds: number): void;
  started(): void;
  disconnected(reason: string): void;
  backoff(seconds: number): void;
  connectedFor(seconds: number): void;
  /** null: there is none yet. */
  method(name: string | null): void;
  configuration(facts: { generation: number; suspended: boolean; insecureHostKey: boolean }): void;
  /** The exposition text and its content type. */
  text(): Promise<{ body: string; type: string }>;
};

/** Fresh round trips take milliseconds; on a connection that is full a late one is waited for (heartbeat-patient.ts). */
const RTT_BUCKETS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** The metrics of one tunnel. Every series that can matter to an alert exists from the start, at 0. */
export const createTunnelMetrics = (tunnel: string, version: string, reasons: readonly string[]): TunnelMetrics => {
  const registry = new Registry();
  const about = <N extends keyof typeof TUNNEL_METRICS>(name: N) => ({
    name,
    help: TUNNEL_METRICS[name],
    registers: [registry],
  });
  const gauge = (name: keyof typeof TUNNEL_METRICS, ...more: string[]) =>
    new Gauge({ ...about(name), labelNames: ['tunnel', ...more] });
  const counter = (name: keyof typeof TUNNEL_METRICS, ...more: string[]) =>
    new Counter({ ...about(name), labelNames: ['tunnel', ...more] });
  const labels = { tunnel };

  const up = gauge('autossh_tunnel_up');
  const forwardUp = gauge('autossh_forward_up', 'forward');
  const rtt = new Histogram({
    ...about('autossh_heartbeat_rtt_seconds'),
    labelNames: ['tunnel'],
    buckets: RTT_BUCKETS,
  });
  const last = gauge('autossh_last_heartbeat_timestamp_seconds');
  const starts = counter('autossh_ssh_starts_total');
  const disconnects = counter('autossh_disconnects_total', 'reason');
  const backoff = gauge('autossh_backoff_seconds');
  const connected = counter('autossh_connected_seconds_total');
  const method = gauge('autossh_heartbeat_method', 'method');
  const generation = gauge('autossh_config_generation');
  const suspended = gauge('autossh_suspended');
  const insecure = gauge('autossh_insecure_host_key');
  new Gauge({ ...about('autossh_build_info'), labelNames: ['version'] }).set({ version }, 1);
  for (const zero of [up, last, backoff, generation, suspended, insecure]) zero.set(labels, 0);
  rtt.zero(labels);
  starts.inc(labels, 0);
  connected.inc(labels, 0);
  for (const reason of reasons) disconnects.inc({ ...labels, reason }, 0);

  return {
    up: (isUp) => up.set(labels, isUp ? 1 : 0),
    forwards: (all) => {
      // A forward that is gone has no series.
      forwardUp.reset();
      for (const { name, up } of all) forwardUp.set({ ...labels, forward: name }, up ? 1 : 0);
    },
    heartbeat: (rttSeconds, unixSeconds) => {
      rtt.observe(labels, rttSeconds);
      last.set(labels, unixSeconds);
    },
    started: () => starts.inc(labels),
    disconnected: (reason) => disconnects.inc({ ...labels, reason }),
    backoff: (seconds) => backoff.set(labels, seconds),
    connectedFor: (seconds) => connected.inc(labels, seconds),
    method: (name) => {
      method.reset();
      if (name !== null) method.set({ ...labels, method: name }, 1);
    },
    configuration: (facts) => {
      generation.set(labels, facts.generation);
      suspended.set(labels, facts.suspended ? 1 : 0);
      insecure.set(labels, facts.insecureHostKey ? 1 : 0);
    },
    text: async () => ({ body: await registry.metrics(), type: registry.contentType }),
  };
};

/** A metric as a program declares it, before any client library is asked. */
export type MetricDefinition = {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
};

/** Where a program with declared metrics counts. */
export type Registered = {
  count(metric: string, labels: Readonly<Record<string, string>>, by?: number): void;
  set(metric: string, labels: Readonly<Record<string, string>>, value: number): void;
  observe(metric: string, labels: Readonly<Record<string, string>>, seconds: number): void;
  text(): Promise<{ body: string; type: string }>;
};

/** Registers all definitions. A metric that was not declared is not counted. */
export const registerMetrics = (definitions: Readonly<Record<string, MetricDefinition>>): Registered => {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const [name, { type, help, labels, buckets }] of Object.entries(definitions)) {
    const about = { name, help, labelNames: [...labels], registers: [registry] };
    if (type === 'counter') counters.set(name, new Counter(about));
    else if (type === 'gauge') gauges.set(name, new Gauge(about));
    else histograms.set(name, new Histogram({ ...about, ...(buckets === undefined ? {} : { buckets: [...buckets] }) }));
  }
  return {
    count: (metric, labels, by = 1) => counters.get(metric)?.inc(labels, by),
    set: (metric, labels, value) => gauges.get(metric)?.set(labels, value),
    observe: (metric, labels, seconds) => histograms.get(metric)?.observe(labels, seconds),
    text: async () => ({ body: await registry.metrics(), type: registry.contentType }),
  };
};
