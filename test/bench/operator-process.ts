import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ControlPlane } from '../support/cluster/index.ts';
import { type Daemon, startDaemon } from '../support/cluster/process.ts';
import { freePort } from '../support/port.ts';
import { until } from '../support/until.ts';

/** The built operator, run as in a cluster. */
export type Operator = {
  /** Megabytes. */
  readonly rss: () => number;
  readonly metrics: () => Promise<string>;
  readonly stop: Daemon['stop'];
};

export const NAMESPACE = 'autossh-system';
const PROGRAM = resolve(import.meta.dirname, '../../dist/autossh-operator.cjs');
let started = 0;

/** Starts it as administrator; by way of `proxy`, a plain HTTP address, where one is given. */
export const startOperator = async (server: ControlPlane, proxy?: string): Promise<Operator> => {
  const config = join(server.dir, 'proxied.kubeconfig');
  if (proxy !== undefined) writeFileSync(config, JSON.stringify(kubeconfig(proxy)), { mode: 0o600 });
  const ports = await Promise.all(['webhook', 'health', 'metrics'].map(() => freePort('127.0.0.1')));
  const [webhook, health, metrics] = ports;
  const flags = [`--webhook-port=${webhook}`, `--health-port=${health}`, `--metrics-port=${metrics}`];
  const daemon = startDaemon('operator', {
    // By its own launcher, which brings the flags of V8.
    argv: [PROGRAM, 'controller', '--image=autossh-operator:bench', ...flags],
    logFile: join(server.dir, `operator-${++started}.log`),
    env: {
      PATH: process.env['PATH'],
      KUBECONFIG: proxy === undefined ? server.kubeconfig : config,
      POD_NAME: `bench-${started}`,
      POD_NAMESPACE: NAMESPACE,
    },
  });
  const address = `http://127.0.0.1`;
  const text = async () => await (await fetch(`${address}:${metrics}/metrics`)).text();
  try {
    const ready = async () => (await fetch(`${address}:${health}/readyz`)).ok;
    await until('the operator to be ready', () => ready().catch(() => false), {
      deadlineMs: 120_000,
      everyMs: 50,
      state: daemon.logTail,
    });
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  return {
    rss: () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]) / 1024,
    metrics: text,
    stop: daemon.stop,
  };
};

const kubeconfig = (server: string) => ({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'bench', cluster: { server, 'insecure-skip-tls-verify': true } }],
  contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
  users: [{ name: 'bench', user: {} }],
  'current-context': 'bench',
});
