import { readFileSync } from 'node:fs';
import type { ControlPlane } from '../support/cluster/index.ts';
import { startOperator, sumOf } from '../support/kube/operator.ts';
import { until } from '../support/until.ts';

/** What a process of the operator took, over the whole time. */
export type Watched = {
  /** Ends of the process: a lease is lost where the API server is away for longer than its renewal may take. */
  readonly ends: readonly string[];
  readonly rssMiB: { readonly first: number; readonly most: number; readonly last: number };
  readonly requests: number;
  /** Within one second. */
  readonly mostRequestsPerSecond: number;
  /** Writes that the server took, but for renewals of the lease. */
  readonly writes: number;
  /** In the quiet after the end. */
  readonly idleRequestsPerSecond: number;
  /** The same by method and answer. */
  readonly idleRequests: Readonly<Record<string, number>>;
  readonly reconciles: number;
  readonly failedReconciles: number;
};

const EVERY_MS = 1_000;
const QUIET_SAMPLES = 10;
const MIB = 2 ** 20;

/** Runs the operator, again when it ends (as a kubelet would), and reads its metrics once a second. */
export const watchOperator = async (server: Pick<ControlPlane, 'dir' | 'kubeconfig'>, namespace: string) => {
  const options = { server, kubeconfig: server.kubeconfig, namespace };
  let operator = await startOperator({ ...options, name: 'soak-0' });
  const ends: string[] = [];
  const rss: number[] = [];
  /** Requests in each second of a process's life. */
  const perSecond: number[] = [];
  const past = { requests: 0, writes: 0, reconciles: 0, failed: 0 };
  let now = { ...past };
  /** When the last sample was asked for. */
  let sampled = performance.now();
  let byLabels = new Map<string, number>();
  let ending = false;

  const bury = async () => {
    ends.push(String(operator.lines().findLast(({ level }) => level === 'error')?.msg));
    for (const key of ['requests', 'writes', 'reconciles', 'failed'] as const) past[key] += now[key];
    now = { requests: 0, writes: 0, reconciles: 0, failed: 0 };
    operator = await startOperator({ ...options, name: `soak-${ends.length}` });
  };
  const sample = async () => {
    const asked = performance.now();
    const samples = await operator.metrics().catch(() => undefined);
    const resident = residentBytes(operator.daemon.pid);
    // It may end at any time.
    if (samples === undefined || resident === undefined) return;
    const total = (labels: Record<string, string>) => sumOf(samples, 'rest_client_requests_total', labels);
    const before = now.requests;
    byLabels = new Map([...samples].filter(([name]) => name.startsWith('rest_client_requests_total')));
    now = {
      requests: total({}),
      // Leases are PUT; a 201 is of an apply that creates.
      writes: total({ method: 'PATCH', code: '200' }) + total({ method: 'PATCH', code: '201' }),
      reconciles: sumOf(samples, 'controller_runtime_reconcile_total', { controller: 'sshtunnel' }),
      failed: sumOf(samples, 'controller_runtime_reconcile_errors_total', { controller: 'sshtunnel' }),
    };
    // The longest time these requests may have taken: this process, too, is kept waiting, between the answer and here or before.
    const passed = performance.now() - sampled;
    sampled = asked;
    perSecond.push(((now.requests - before) * 1000) / Math.max(passed, EVERY_MS));
    rss.push(resident / MIB);
  };
  const watching = (async () => {
    while (!ending) {
      if (!operator.daemon.running()) await bury();
      await sample();
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  })();
  await until('the operator to be ready', async () => (await operator.health('/readyz')) === 200, {
    deadlineMs: 120_000,
    state: () => operator.daemon.logTail(),
  });

  return {
    line: () =>
      `${Math.round(rss.at(-1) ?? 0)} MiB, ${past.requests + now.requests} requests, ended ${ends.length} times`,
    end: async (): Promise<Watched> => {
      const quietFrom = perSecond.length;
      const before = byLabels;
      await until('quiet seconds', () => perSecond.length >= quietFrom + QUIET_SAMPLES, { deadlineMs: 120_000 });
      ending = true;
      await watching;
      await operator.daemon.stop();
      const quiet = perSecond.slice(-QUIET_SAMPLES);
      const round = (value: number) => Math.round(value * 10) / 10;
      return {
        ends,
        rssMiB: {
          first: round(rss.at(0) ?? 0),
          most: round(Math.max(...rss)),
          last: round(rss.at(-1) ?? 0),
        },
        requests: past.requests + now.requests,
        mostRequestsPerSecond: round(Math.max(...perSecond)),
        writes: past.writes + now.writes,
        idleRequestsPerSecond: round(quiet.reduce((sum, rate) => sum + rate, 0) / quiet.length),
        idleRequests: Object.fromEntries(
          [...byLabels].flatMap(([name, value]) => {
            const more = value - (before.get(name) ?? 0);
            return more === 0 ? [] : [[name.replace(/^.*?\{|,?host=.*$/g, ''), more]];
          }),
        ),
        reconciles: past.reconciles + now.reconciles,
        failedReconciles: past.failed + now.failed,
      };
    },
  };
};

/** Undefined where the process has ended. */
const residentBytes = (pid: number): number | undefined => {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
};
