import { join } from 'node:path';
import { type ApiServer, startApiServer } from './apiserver.ts';
import { ensureBinaries, type Log } from './binaries.ts';
import { type Credentials, makeAuthority } from './certs.ts';
import { ensureDebianPackages } from './debian.ts';
import { archiveOf, ensureBusyboxImage, ensurePauseImage } from './images.ts';
import { kindAnswers, startKind } from './kind.ts';
import { makeMachine } from './namespaces.ts';
import { importImage, nodePackages, nodePrograms, startNode } from './node.ts';
import { type Output, run as runProgram } from './process.ts';
import { createRun, type Run, removeRun, sweep } from './runs.ts';
import { thisMachine, verdict } from './verdict.ts';

export type { ApiServer } from './apiserver.ts';
export type { Log } from './binaries.ts';
export { buildImage } from './build-image.ts';
export type { Credentials } from './certs.ts';

export type ClientOptions = { input?: string; signal?: AbortSignal };

/** A program's run against the cluster. A refusal is a code and a text, not a throw. */
export type Client = (args: readonly string[], options?: ClientOptions) => Promise<Output>;

/** What a test may rely on, whichever way the cluster came to be. */
export type ControlPlane = {
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** The same, parsed. */
  readonly credentials: Credentials;
  /** A folder of the run, for files of a test; removed by `down`. */
  readonly dir: string;
  /** Where a server in the test's process is reached from the API server (webhooks by `url`) and, on a node, from pods. Listen on it. */
  readonly hostAddress: string;
  /** Paths of the clients, of the cluster's version, for programs that a test starts. */
  readonly programs: { readonly kubectl: string; readonly helm: string };
  /** Both as administrator, with configuration and caches of the run. */
  readonly kubectl: Client;
  readonly helm: Client;
  /** Removes all that `up` made. */
  down(): Promise<void>;
};

export type UpApiServerOptions = {
  log?: Log;
  /** Given to kube-apiserver last, so that they win. */
  extraFlags?: readonly string[];
  /** Chosen freely when absent. */
  port?: number;
  /** Pods get a service account and its token, as with nodes; the test makes the accounts, since nothing else does. */
  serviceAccounts?: boolean;
};

const always = ['etcd', 'kube-apiserver', 'kubectl', 'helm'] as const;

/** A real API server without nodes: seconds to start, enough for whatever ends at the API. Runs side by side do not meet. */
export async function upApiServer(
  options: UpApiServerOptions = {},
): Promise<ControlPlane & Pick<ApiServer, 'stop' | 'kill' | 'restart' | 'compact' | 'logTail'>> {
  const log = options.log ?? console.error;
  await sweep(log);
  const programs = await ensureBinaries([...always], { log });
  // Ports are free when they are chosen; who else chooses ports here may be quicker.
  for (let attempt = 1; ; attempt++)
    try {
      return await startWithoutNodes(programs, options);
    } catch (error) {
      if (attempt === 3 || options.port !== undefined || !/address already in use/.test(String(error))) throw error;
      log('a port of the API server or etcd was taken meanwhile: choosing others');
    }
}

async function startWithoutNodes(
  programs: Record<(typeof always)[number], string>,
  options: UpApiServerOptions,
): Promise<ControlPlane & Pick<ApiServer, 'stop' | 'kill' | 'restart' | 'compact' | 'logTail'>> {
  const run = createRun();
  return await orRemove(run, async () => {
    const server = await startApiServer({
      run,
      programs,
      authority: await makeAuthority(join(run.dir, 'pki')),
      address: '127.0.0.1',
      serviceCidr: '10.96.0.0/16',
      ...(options.port === undefined ? {} : { port: options.port }),
      ...(options.serviceAccounts === undefined ? {} : { serviceAccounts: options.serviceAccounts }),
      ...(options.extraFlags ? { extraFlags: options.extraFlags } : {}),
    });
    return { ...server, hostAddress: '127.0.0.1', ...handle(run, programs) };
  });
}

/** The same with one node that runs pods. Needs root; images come by `loadImage`, since none can be counted on to be pulled. */
export type Cluster = ControlPlane & {
  /** Makes an image known to the node: a name given to `buildImage`, or the path of an archive. Pods take it with `imagePullPolicy: IfNotPresent`. */
  loadImage(what: string): Promise<void>;
  /** Runs a program on the node, in its network: where a wire is cut. */
  onNode(argv: readonly string[]): Promise<Output>;
};

export type UpClusterOptions = Omit<UpApiServerOptions, 'port' | 'serviceAccounts'>;

/** By kind where a Docker engine answers (unless AUTOSSH_TEST_CLUSTER=node), else the one node of this folder. Tests know only `Cluster`. */
export async function upCluster(options: UpClusterOptions = {}): Promise<Cluster> {
  const log = options.log ?? console.error;
  await sweep(log);
  if (process.env.AUTOSSH_TEST_CLUSTER !== 'node' && (await kindAnswers())) return await upKind(log);
  // Before the twenty minutes of building, not after.
  const judged = verdict(thisMachine());
  if (!judged.run) throw new Error(judged.why);
  await ensureDebianPackages(nodePackages, { log });
  const programs = await ensureBinaries([...always, ...nodePrograms], { log });
  const archives = { pause: await ensurePauseImage(log), busybox: await ensureBusyboxImage(log) };
  const run = createRun();
  return await orRemove(run, async () => {
    const machine = await makeMachine(run);
    const authority = await makeAuthority(join(run.dir, 'pki'));
    const server = await startApiServer({
      run,
      programs,
      authority,
      address: machine.hostAddress,
      serviceCidr: machine.serviceCidr,
      ...(options.extraFlags ? { extraFlags: options.extraFlags } : {}),
    });
    const rest = handle(run, programs);
    const kubectl = (args: readonly string[], input?: string) =>
      rest.kubectl(args, input === undefined ? {} : { input });
    await startNode({ run, machine, server, authority, programs, pauseArchive: archives.pause, kubectl });
    await importImage(machine, archives.busybox);
    return {
      ...server,
      ...rest,
      hostAddress: machine.hostAddress,
      loadImage: (what) => importImage(machine, archiveOf(what)),
      onNode: (argv) => runProgram(machine.inside(argv)),
    };
  });
}

async function upKind(log: Log): Promise<Cluster> {
  const programs = await ensureBinaries([...always], { log });
  const busybox = await ensureBusyboxImage(log);
  const run = createRun();
  return await orRemove(run, async () => {
    const cluster = await startKind(run, log);
    await cluster.loadImage(busybox);
    return { ...cluster, ...handle(run, programs), loadImage: (what) => cluster.loadImage(archiveOf(what)) };
  });
}

function handle(
  run: Run,
  { kubectl, helm }: ControlPlane['programs'],
): Pick<ControlPlane, 'dir' | 'programs' | 'kubectl' | 'helm' | 'down'> {
  const env = {
    ...run.env,
    KUBECONFIG: join(run.dir, 'kubeconfig'),
    KUBECACHEDIR: join(run.dir, 'kube-cache'),
    HELM_CACHE_HOME: join(run.dir, 'helm', 'cache'),
    HELM_CONFIG_HOME: join(run.dir, 'helm', 'config'),
    HELM_DATA_HOME: join(run.dir, 'helm', 'data'),
  };
  const client =
    (program: string): Client =>
    (args, options = {}) =>
      runProgram([program, ...args], { ...options, env });
  return {
    dir: run.dir,
    programs: { kubectl, helm },
    kubectl: client(kubectl),
    helm: client(helm),
    down: () => removeRun(run.dir),
  };
}

/** A start that fails leaves as little behind as an end that succeeds. */
async function orRemove<T>(run: Run, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    await removeRun(run.dir);
    throw error;
  }
}
