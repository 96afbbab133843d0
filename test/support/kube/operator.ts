import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ControlPlane } from '../cluster/index.ts';
import { type Daemon, startDaemon } from '../cluster/process.ts';
import { freePort } from '../port.ts';

const program = resolve(import.meta.dirname, '../../../dist/autossh-operator.cjs');

export type OperatorOptions = {
  readonly server: Pick<ControlPlane, 'dir'>;
  /** Path of the kubeconfig, or none: no cluster at all. */
  readonly kubeconfig: string | undefined;
  /** Its own: of the lease and of the certificate. */
  readonly namespace: string;
  readonly webhookConfiguration?: string;
  /** In the names of its files. */
  readonly name: string;
  readonly env?: Readonly<Record<string, string>>;
};

export type LogLine = { readonly level: string; readonly msg: string; readonly error?: string } & Readonly<
  Record<string, unknown>
>;

/** The real `autossh-operator controller`, as a process. */
export type Operator = {
  readonly daemon: Daemon;
  /** All that it wrote, as it stands. */
  readonly text: () => string;
  /** The same, line by line; throws where a line is no JSON object. */
  readonly lines: () => LogLine[];
  /** Status code of its health server's path; 0 where nobody answers. */
  readonly health: (path: '/healthz' | '/readyz') => Promise<number>;
  /** /metrics as it is. */
  readonly exposition: () => Promise<string>;
  /** Samples of /metrics by name with labels. */
  readonly metrics: () => Promise<ReadonlyMap<string, number>>;
};

export const startOperator = async (options: OperatorOptions): Promise<Operator> => {
  const { server, kubeconfig, namespace, webhookConfiguration = 'autossh-operator', name, env = {} } = options;
  // It listens on every address.
  const ports = {
    webhook: await freePort('0.0.0.0'),
    health: await freePort('0.0.0.0'),
    metrics: await freePort('0.0.0.0'),
  };
  const logFile = join(server.dir, `operator-${name}.log`);
  const daemon = startDaemon(`operator ${name}`, {
    argv: [
      ...[program, 'controller', '--image=registry.example/autossh-operator:1.2.3'],
      `--webhook-configuration=${webhookConfiguration}`,
      ...Object.entries(ports).map(([port, number]) => `--${port}-port=${number}`),
    ],
    logFile,
    env: {
      PATH: process.env['PATH'],
      AUTOSSH_NODE: process.execPath,
      // No ~/.kube/config of whoever runs the tests.
      HOME: server.dir,
      POD_NAME: name,
      POD_NAMESPACE: namespace,
      ...(kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig }),
      ...env,
    },
  });
  const text = () => readFileSync(logFile, 'utf8');
  const exposition = async () => (await fetch(`http://127.0.0.1:${ports.metrics}/metrics`)).text();
  return {
    daemon,
    text,
    lines: () =>
      text()
        .split('\n')
        // The last may be on its way.
        .slice(0, -1)
        .map((line) => JSON.parse(line) as LogLine),
    health: (path) =>
      fetch(`http://127.0.0.1:${ports.health}${path}`).then(
        ({ status }) => status,
        () => 0,
      ),
    exposition,
    metrics: async () => samplesOf(await exposition()),
  };
};

const samplesOf = (exposition: string): Map<string, number> =>
  new Map(
    exposition
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const space = line.lastIndexOf(' ');
        return [line.slice(0, space), Number(line.slice(space + 1))];
      }),
  );

/** The sum of all samples of a metric whose labels contain all of these. */
export const sumOf = (
  samples: ReadonlyMap<string, number>,
  metric: string,
  labels: Readonly<Record<string, string>> = {},
): number =>
  [...samples]
    .filter(
      ([name]) =>
        (name === metric || name.startsWith(`${metric}{`)) &&
        Object.entries(labels).every(([key, value]) => name.includes(`${key}="${value}"`)),
    )
    .reduce((sum, [, value]) => sum + value, 0);

/** Writes a kubeconfig of one cluster and one user and returns its path. */
export const writeKubeconfig = (
  path: string,
  { server, ca, user }: { server: string; ca?: string; user: Readonly<Record<string, string>> },
): string => {
  const trust =
    ca === undefined
      ? { 'insecure-skip-tls-verify': true }
      : { 'certificate-authority-data': Buffer.from(ca).toString('base64') };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'operator',
    contexts: [{ name: 'operator', context: { cluster: 'test', user: 'operator' } }],
    clusters: [{ name: 'test', cluster: { server, ...trust } }],
    users: [{ name: 'operator', user }],
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
};
