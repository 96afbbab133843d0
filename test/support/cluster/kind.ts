import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from './binaries.ts';
import type { Credentials } from './certs.ts';
import { must, run as runProgram } from './process.ts';
import { noteDown, type Run } from './runs.ts';

/**
 * A node by kind (sigs.k8s.io/kind, the Go program), for machines on which a Docker engine answers. UNPROVEN: the machines this was
 * made on have no such engine; the commands are those of kind's and Docker's documentation.
 */
export type KindCluster = {
  readonly kubeconfig: string;
  readonly credentials: Credentials;
  readonly hostAddress: string;
  loadImage(archive: string): Promise<void>;
  onNode(argv: readonly string[]): ReturnType<typeof runProgram>;
};

/** Whether kind can be asked for a node: its program is there, and so is an engine that answers. */
export async function kindAnswers(): Promise<boolean> {
  const works = async (...argv: string[]) => (await runProgram(argv).catch(() => ({ code: 1 }))).code === 0;
  return (await works('kind', 'version')) && (await works('docker', 'info'));
}

export async function startKind(run: Run, log: Log): Promise<KindCluster> {
  const name = `autossh-${run.id}`.toLowerCase();
  const kubeconfig = join(run.dir, 'kubeconfig');
  log(`kind: creating cluster ${name} (a way that nobody has proven yet: please report how it went)`);
  noteDown(run, { kind: name });
  await must(['kind', 'create', 'cluster', '--name', name, '--kubeconfig', kubeconfig, '--wait', '180s']);
  const gateway = '{{range .IPAM.Config}}{{println .Gateway}}{{end}}';
  const gateways = (await must(['docker', 'network', 'inspect', 'kind', '--format', gateway])).split('\n');
  return {
    kubeconfig,
    credentials: await readKubeconfig(kubeconfig),
    hostAddress: gateways.find((address) => /^\d+\.\d+\.\d+\.\d+$/.test(address)) ?? '127.0.0.1',
    loadImage: async (archive) => {
      await must(['kind', 'load', 'image-archive', archive, '--name', name]);
    },
    onNode: (argv) => runProgram(['docker', 'exec', `${name}-control-plane`, ...argv]),
  };
}

/** Of the file that kind writes, which is JSON to whoever asks kubectl for it. */
async function readKubeconfig(file: string): Promise<Credentials> {
  const view = JSON.parse(await must(['kubectl', '--kubeconfig', file, 'config', 'view', '--raw', '-o', 'json'])) as {
    clusters: { cluster: { server: string; 'certificate-authority-data': string } }[];
    users: { user: { 'client-certificate-data': string; 'client-key-data': string } }[];
  };
  const [cluster, user] = [view.clusters[0]?.cluster, view.users[0]?.user];
  if (cluster === undefined || user === undefined)
    throw new Error(`expected a cluster and a user in ${file}; got ${readFileSync(file, 'utf8').length} bytes without`);
  const text = (base64: string) => Buffer.from(base64, 'base64').toString();
  return {
    server: cluster.server,
    ca: text(cluster['certificate-authority-data']),
    cert: text(user['client-certificate-data']),
    key: text(user['client-key-data']),
  };
}
