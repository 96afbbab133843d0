import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Cluster, upCluster } from '../support/cluster/index.ts';
import { describeCluster } from '../support/cluster/suite.ts';
import { until } from '../support/cluster/until.ts';
import { makeWorld, type World } from '../support/world.ts';

/** Long enough that a tunnel which never notices would be caught; the sidecar has to find the cut by itself and try all along. */
const CUT_MS = 60_000;

describeCluster('an SshTunnel becomes a living sidecar, through the front door', () => {
  let cluster: Cluster;
  let world: World;
  beforeAll(async () => {
    cluster = await upCluster();
    world = makeWorld(cluster, console.error);
    await world.load();
    await world.others();
    await world.install();
    await world.apply();
  });
  afterAll(async () => {
    await cluster?.down();
  });

  it('starts the app only behind a tunnel that stands, in a namespace with restricted Pod Security', async () => {
    await world.kubectl('-n', 'shop', 'rollout', 'status', 'deploy/orders', '--timeout=300s');
    await world.answered();
    // The app's own first query was answered too, or it would have ended and been restarted.
    expect(await world.restarts()).toEqual({ app: 0, 'autossh-orders-db': 0 });
    await world.ready('True', '2/2');
    expect(await world.condition('Accepted')).toBe('True');
    expect(await world.kubectl('get', 'sshtunnels', '-A')).toMatch(/orders-db +Sidecar +bastion\.dmz +2\/2 +True/);
  });

  it('heals when ssh is killed, and when it is frozen', async () => {
    await world.killSsh('KILL');
    await world.answered();
    await world.ready('True', '2/2');
    await world.killSsh('STOP');
    await world.answered();
  });

  it('follows a bastion that comes back at another address', async () => {
    await world.ready('True', '2/2');
    await world.deleteBastion();
    await world.answered();
  });

  it('says so while the network to the bastion is cut, and is back soon after', async () => {
    await world.ready('True', '2/2');
    const mend = await world.cutBastion();
    try {
      const began = performance.now();
      await world.ready('False');
      expect(await world.queries()).toEqual([null, null]);
      await until('the end of the minute', () => performance.now() - began > CUT_MS || undefined, { seconds: 120 });
    } finally {
      await mend();
    }
    await world.answered();
    await world.ready('True', '2/2');
  });

  it('lets a Job with a sidecar complete', async () => {
    await world.runJob();
  });

  it('did all of it without a restart of any container', async () => {
    expect(await world.restarts()).toEqual({ app: 0, 'autossh-orders-db': 0, report: 0 });
  });

  it('refuses, in words, a pod that names a tunnel which is not there', async () => {
    const { stderr, code } = await cluster.kubectl([
      ...['-n', 'shop', 'run', 'lost', '--image=autossh-demo-world:1', '--labels=autossh.dev/inject=true'],
      ...['--annotations=tunnel.autossh.dev/nowhere='],
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/nowhere/);
  });

  it('hands a changed forward over without a restart', async () => {
    const patch = JSON.stringify({ spec: { heartbeat: { periodSeconds: 2 } } });
    await world.kubectl('-n', 'shop', 'patch', 'sshtunnel', 'orders-db', '--type=merge', '-p', patch);
    const upToDate = () =>
      world.kubectl(
        '-n',
        'shop',
        'get',
        'sshtunnel',
        'orders-db',
        '-o',
        'jsonpath={.status.pods.upToDate}/{.status.observedGeneration}',
      );
    await until('both pods to run the new settings', async () => (await upToDate()) === '2/2' || undefined, {
      seconds: 120,
      explain: world.explain,
    });
    expect((await world.restarts())['app']).toBe(0);
  });
});
