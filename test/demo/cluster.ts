import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LineSplitter } from '../../src/tunnel/lines.ts';
import { upCluster } from '../support/cluster/index.ts';
import { removeOwnRuns } from '../support/cluster/runs.ts';
import { until } from '../support/cluster/until.ts';
import { makeWorld, worldDir } from '../support/world.ts';

/**
 * The main job as a story: a real Kubernetes node, `helm install`, one `kubectl apply`, and an app that talks to a database which only a
 * bastion reaches, while ssh is killed, the bastion replaced and the network cut. `--keep` leaves it all running. Whatever asks it to
 * end, and whenever, it takes everything down first.
 */
const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });

const say = (text = '') => console.log(text);
const title = (text: string) => say(`\n== ${text}`);
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const began = performance.now();
const progress = (text: string) => say(`   [${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}`);

type Ending = 'SIGINT' | 'SIGTERM' | 'SIGHUP';
const interrupted = new Promise<Ending>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
});
// Of a terminal that was closed: the words are lost, the work goes on.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const main = async (): Promise<void> => {
  const stage: Stage = { isKept: false, isOver: false };
  try {
    const signal = await Promise.race([story(stage), interrupted]);
    if (signal !== undefined && !stage.isKept) {
      say(`\n${signal}`);
      process.exitCode = 128 + constants.signals[signal];
    }
  } finally {
    stage.isOver = true;
    stage.stopWatching?.();
    title('The end: everything is taken down');
    await removeOwnRuns();
    progress('nothing is left');
  }
};

type Stage = { isKept: boolean; isOver: boolean; stopWatching?: () => void };

const story = async (stage: Stage): Promise<undefined> => {
  title(
    'A Kubernetes node on this machine (the first run builds its programs: 10 to 20 minutes; later runs take seconds)',
  );
  // What was interrupted in its middle goes on for a moment, unheard.
  const log = (text: string) => (stage.isOver ? undefined : progress(text));
  const cluster = await upCluster({ log });
  const world = makeWorld(cluster, log);
  title('Images: autossh-operator, and a world to use it in (first run: a minute or two)');
  await world.load();
  title("Somebody else's network: a bastion with sshd, and a Redis that listens on the bastion's loopback only");
  await world.others();
  progress('bastion.dmz is up');
  title('$ helm install autossh-operator charts/autossh-operator --namespace autossh-system --create-namespace');
  await world.install();
  progress('the operator is ready');

  title('$ kubectl apply -f shop.yaml        # tunnel, key, host key and app, all at once');
  say(indented(readFileSync(join(worldDir, 'shop.yaml'), 'utf8').split('\n---\n')[0] ?? ''));
  stage.stopWatching = watch(cluster.programs.kubectl, cluster.kubeconfig);
  await world.apply();
  say(`   -> the app was answered through 127.0.0.1 ${seconds(await world.answered(300))} after the apply`);
  await world.kubectl('-n', 'shop', 'rollout', 'status', 'deploy/orders', '--timeout=300s');

  const results: [string, number][] = [];
  const fault = async (name: string, strike: () => Promise<unknown>) => {
    title(`Fault: ${name}`);
    await world.ready('True', '2/2');
    await strike();
    const ms = await world.answered();
    results.push([name, ms]);
    say(`   -> answered again after ${seconds(ms)}`);
  };
  await fault('ssh killed in every sidecar', () => world.killSsh('KILL'));
  await fault('ssh frozen in every sidecar', () => world.killSsh('STOP'));
  await fault('the bastion replaced: another pod, another address', () => world.deleteBastion());
  title('Fault: the network to the bastion cut for a minute');
  const mend = await world.cutBastion();
  const cut = performance.now();
  await until('the minute', async () => performance.now() - cut > 60_000 || undefined, { seconds: 120 });
  const meanwhile = (await world.queries()).filter((answer) => answer !== null);
  say(`   while it is cut: ${meanwhile.length === 0 ? 'no answer, as it should be' : `an answer? ${meanwhile}`}`);
  await mend();
  const ms = await world.answered();
  results.push(['the network cut for a minute, from its mending on', ms]);
  say(`   mended -> answered again after ${seconds(ms)}`);

  title('A Job with a sidecar: it must complete');
  await world.runJob();
  say('   -> job/nightly: complete');
  title('Recovered');
  for (const [name, ms] of results) say(`   ${name.padEnd(54)} ${seconds(ms)}`);
  const restarts = Object.entries(await world.restarts());
  say(`   Restarts of containers: ${restarts.map(([name, count]) => `${name}: ${count}`).join(', ')}`);
  say(indented(await world.kubectl('-n', 'shop', 'get', 'sshtunnels,pods')));
  if (meanwhile.length > 0 || restarts.some(([, count]) => count > 0))
    throw new Error('expected no answer through a cut network and no restart of any container; see above');
  if (options.keep) {
    stage.isKept = true;
    await keep(cluster.programs.kubectl, cluster.kubeconfig);
  }
  return undefined;
};

/** `kubectl get sshtunnels -w`, as it would scroll by in another terminal. */
const watch = (kubectl: string, kubeconfig: string): (() => void) => {
  const child = spawn(kubectl, ['get', 'sshtunnels', '-n', 'shop', '-w', '-o', 'wide'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  const lines = new LineSplitter((line) => say(`   watch | ${line.slice(0, 150).trimEnd()}`));
  child.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
  return () => child.kill();
};

const keep = async (kubectl: string, kubeconfig: string): Promise<void> => {
  title('It stays. Try, in another terminal:');
  say(`   export KUBECONFIG=${kubeconfig}; alias k=${kubectl}`);
  say('   k -n shop get sshtunnels -w -o wide');
  say('   k -n shop describe sshtunnel orders-db');
  say('   k -n shop logs deploy/orders -c autossh-orders-db -f');
  say('   k -n shop exec deploy/orders -c app -- redis-cli incr hits');
  say(`   k -n shop patch sshtunnel orders-db --type=merge -p '{"spec":{"suspend":true}}'`);
  say('   k -n dmz delete pod -l app=bastion');
  say('   Ctrl-C here ends it.');
  await interrupted;
};

const indented = (text: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => `   ${line}`)
    .join('\n');

main()
  .catch((problem: unknown) => {
    console.error(problem);
    process.exitCode = 1;
  })
  // What an interruption left in its middle is not waited for.
  .finally(() => process.exit());
