import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { freePort } from '../port.ts';
import { type Credentials, issue, type KeyPair, kubeconfig, makeServiceAccountKey, readCredentials } from './certs.ts';
import { startEtcd } from './etcd.ts';
import { type Daemon, startDaemon } from './process.ts';
import type { Run } from './runs.ts';
import { Hopeless, until } from './until.ts';

export type ApiServerOptions = {
  run: Run;
  programs: { etcd: string; 'kube-apiserver': string };
  authority: KeyPair;
  /** Where it listens and what it tells pods. Loopback is for a server without nodes. */
  address: string;
  /** Chosen freely when absent; kept over restarts. */
  port?: number;
  serviceCidr: string;
  /** Given last, so that they win: `--audit-log-path=…`. */
  extraFlags?: readonly string[];
  /** Pods get a service account and its token without nodes too. */
  serviceAccounts?: boolean;
};

/** etcd and kube-apiserver. What can fail in a test can be done here: stop, kill, come back with the same data, lose history. */
export type ApiServer = {
  readonly url: string;
  readonly credentials: Credentials;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  readonly serviceAccountKey: string;
  /** As at a planned restart: connections are ended in order. */
  stop(): Promise<void>;
  /** As at a crash. */
  kill(): Promise<void>;
  /** Starts again on the same port and data; stops first where it still runs. */
  restart(): Promise<void>;
  /** Drops etcd's history, so that a watch from an old resourceVersion gets 410 Gone: where the server has a cache of the resource, only once that is gone too (restart). */
  compact(): Promise<void>;
  logTail(): string;
};

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { run, authority, address } = options;
  const pki = join(run.dir, 'pki');
  const port = options.port ?? (await freePort(address));
  const url = `https://${address}:${port}`;
  const serviceAddress = options.serviceCidr.replace(/\.0\/\d+$/, '.1');
  const [etcd, serviceAccount, serving, admin, toKubelet] = await Promise.all([
    startEtcd(run, options.programs.etcd),
    makeServiceAccountKey(pki),
    issue(authority, {
      name: 'apiserver',
      commonName: 'kube-apiserver',
      altNames: [
        `IP:${address}`,
        'IP:127.0.0.1',
        `IP:${serviceAddress}`,
        'DNS:localhost',
        'DNS:kubernetes',
        'DNS:kubernetes.default',
        'DNS:kubernetes.default.svc',
        'DNS:kubernetes.default.svc.cluster.local',
      ],
    }),
    issue(authority, { name: 'admin', commonName: 'admin', organization: 'system:masters' }),
    issue(authority, {
      name: 'apiserver-kubelet-client',
      commonName: 'kube-apiserver-kubelet-client',
      organization: 'system:masters',
    }),
  ]);
  const credentials = readCredentials(url, authority, admin);
  const config = join(run.dir, 'kubeconfig');
  writeFileSync(config, kubeconfig(credentials), { mode: 0o600 });
  const isLoopback = address.startsWith('127.');
  const argv = [
    options.programs['kube-apiserver'],
    `--etcd-servers=${etcd.url}`,
    `--bind-address=${address}`,
    `--advertise-address=${address}`,
    `--secure-port=${port}`,
    `--tls-cert-file=${serving.cert}`,
    `--tls-private-key-file=${serving.key}`,
    `--client-ca-file=${authority.cert}`,
    `--kubelet-client-certificate=${toKubelet.cert}`,
    `--kubelet-client-key=${toKubelet.key}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--service-account-key-file=${serviceAccount.public}`,
    `--service-account-signing-key-file=${serviceAccount.private}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--service-cluster-ip-range=${options.serviceCidr}`,
    '--allow-privileged=true',
    // An endpoint on loopback is invalid, and nobody would use it: without nodes there are no pods.
    `--endpoint-reconciler-type=${isLoopback ? 'none' : 'lease'}`,
    // No controller-manager, no default service accounts: with this plugin no pod could be created (envtest does the same).
    ...(isLoopback && !options.serviceAccounts ? ['--disable-admission-plugins=ServiceAccount'] : []),
    ...(options.extraFlags ?? []),
  ];
  let daemon: Daemon;
  const start = async () => {
    daemon = startDaemon('kube-apiserver', { argv, logFile: join(run.dir, 'log', 'kube-apiserver.log'), env: run.env });
    await untilReady(daemon, credentials);
  };
  await start();
  return {
    url,
    credentials,
    kubeconfig: config,
    serviceAccountKey: serviceAccount.private,
    stop: () => daemon.stop(),
    kill: () => daemon.kill(),
    restart: async () => {
      await daemon.stop();
      await start();
    },
    compact: () => etcd.compact(),
    logTail: () => daemon.logTail(),
  };
}

async function untilReady(daemon: Daemon, credentials: Credentials): Promise<void> {
  // The default namespace is made by the server itself, a moment after it calls itself ready.
  for (const path of ['/readyz', '/api/v1/namespaces/default']) {
    await until(
      `kube-apiserver to answer 200 at ${path}`,
      async () => {
        if (!daemon.running()) throw new Hopeless(`expected kube-apiserver to stay; it ended\n${daemon.logTail()}`);
        return (await statusOf(credentials, path)) === 200 || undefined;
      },
      { seconds: 120, everyMilliseconds: 50, explain: () => daemon.logTail() },
    );
  }
}

function statusOf({ server, ca, cert, key }: Credentials, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, server), { ca, cert, key, agent: false, timeout: 5000 }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer from ${server} within 5 s`)));
    asked.on('error', reject);
    asked.end();
  });
}
