/** Where the runtime counts. A metric is one of METRICS; labels are the ones named there, in any order. */
export type Meter = {
  readonly count: (metric: MetricName, labels: Labels, by?: number) => void;
  readonly set: (metric: MetricName, labels: Labels, value: number) => void;
  readonly observe: (metric: MetricName, labels: Labels, seconds: number) => void;
};

export type Labels = Readonly<Record<string, string>>;

export type MetricDefinition = {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
};

export const unmetered: Meter = { count: () => {}, set: () => {}, observe: () => {} };

const RECONCILE_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 1.75, 2,
  2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
];
const QUEUE_BUCKETS = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100, 1000];
/** client_golang's DefBuckets. */
const DEFAULT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const REQUEST_BUCKETS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];

/**
 * Names, labels and buckets are controller-runtime's and client-go's (pkg/internal/controller/metrics, pkg/internal/metrics,
 * pkg/webhook/internal/metrics, pkg/metrics), so that dashboards made for any Go operator show this one. Without
 * `controller_runtime_webhook_panics_total`: a handler that throws refuses its request, whatever it throws, and the log says why.
 * `kube_*` are ours: client-go does not count these.
 */
export const METRICS = {
  controller_runtime_reconcile_total: counter('Reconciliations by result', 'controller', 'result'),
  controller_runtime_reconcile_errors_total: counter('Reconciliations that failed', 'controller'),
  controller_runtime_terminal_reconcile_errors_total: counter('Failures that are not retried', 'controller'),
  controller_runtime_reconcile_timeouts_total: counter('Reconciliations that ran into their deadline', 'controller'),
  controller_runtime_reconcile_time_seconds: histogram('Time of a reconciliation', RECONCILE_BUCKETS, 'controller'),
  controller_runtime_max_concurrent_reconciles: gauge('Workers of a controller', 'controller'),
  controller_runtime_active_workers: gauge('Workers at work', 'controller'),
  controller_runtime_reconcile_panics_total: counter('Failures that are bugs of the reconciler', 'controller'),
  controller_runtime_webhook_requests_total: counter('Admission requests by HTTP status', 'webhook', 'code'),
  controller_runtime_webhook_latency_seconds: histogram(
    'Time to answer an admission request',
    DEFAULT_BUCKETS,
    'webhook',
  ),
  controller_runtime_webhook_requests_in_flight: gauge('Admission requests being answered', 'webhook'),
  workqueue_depth: gauge('Keys that wait for a worker', 'name', 'controller'),
  workqueue_adds_total: counter('Keys added', 'name', 'controller'),
  workqueue_retries_total: counter('Keys added again after a failure', 'name', 'controller'),
  workqueue_queue_duration_seconds: histogram('Time a key waits for a worker', QUEUE_BUCKETS, 'name', 'controller'),
  workqueue_work_duration_seconds: histogram('Time a worker has a key', QUEUE_BUCKETS, 'name', 'controller'),
  workqueue_unfinished_work_seconds: gauge('Time spent on keys that workers still have', 'name', 'controller'),
  workqueue_longest_running_processor_seconds: gauge('Time the slowest worker has had its key', 'name', 'controller'),
  rest_client_requests_total: counter('Requests to the API server by answer', 'code', 'method', 'host'),
  rest_client_request_duration_seconds: histogram('Time until an answer', REQUEST_BUCKETS, 'verb', 'host'),
  leader_election_master_status: gauge('1 while this process leads', 'name'),
  leader_election_slowpath_total: counter('Renewals that had to read the lease first', 'name'),
  kube_reflector_lists_total: counter('Full lists', 'resource'),
  kube_reflector_watches_total: counter('Watches opened', 'resource'),
  kube_reflector_errors_total: counter('Lists and watches that failed, by reason', 'resource', 'reason'),
  kube_reflector_objects: gauge('Objects in the cache', 'resource'),
  kube_events_dropped_total: counter('Events that were not written, by reason', 'reason'),
  kube_certificate_errors_total: counter('Failures to keep the serving certificate, by reason', 'reason'),
  kube_certificate_expiry_timestamp_seconds: gauge('When the serving certificate ends', 'secret'),
} satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;

function counter(help: string, ...labels: string[]): MetricDefinition {
  return { type: 'counter', help, labels };
}

function gauge(help: string, ...labels: string[]): MetricDefinition {
  return { type: 'gauge', help, labels };
}

function histogram(help: string, buckets: readonly number[], ...labels: string[]): MetricDefinition {
  return { type: 'histogram', help, labels, buckets };
}
