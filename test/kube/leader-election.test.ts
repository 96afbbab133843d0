import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, type KubeClient } from '../../src/kube/client.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { guardWrites, WriteRefused } from '../../src/kube/guard-writes.ts';
import { createInformer } from '../../src/kube/informer.ts';
import { createLeaderElector, type Lease } from '../../src/kube/leader-election.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS, LEASES } from '../../src/kube/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createRecordingLog } from '../support/kube/recording.ts';
import { createTcpProxy, type TcpProxy } from '../support/kube/tcp-proxy.ts';
import { until } from '../support/until.ts';

/** For leases that nobody is to lose, also on a machine that stands still for a while; whoever waits for one looks often. */
const LASTING = { leaseMs: 60_000, renewMs: 50_000, retryMs: 300 };
/** For leases that are to be lost: much more between the end of one leader and the beginning of the next than such a machine takes. */
const SHORT = { leaseMs: 10_000, renewMs: 3_000, retryMs: 300 };
const PATIENT = { deadlineMs: 90_000 };

describe('leader election on a real API server', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let client: KubeClient;
  let wire: TcpProxy;
  let wired: KubeClient;
  const connections: Connection[] = [];
  beforeAll(async () => {
    server = await upApiServer();
    const text = readFileSync(server.kubeconfig, 'utf8');
    const { hostname, port } = new URL(server.credentials.server);
    wire = await createTcpProxy({ host: hostname, port: Number(port) });
    const direct = clientOf(text);
    const through = clientOf(text, { server: `https://127.0.0.1:${wire.port}` });
    connections.push(direct.connection, through.connection);
    client = direct.client;
    wired = through.client;
  });
  afterAll(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await wire?.close();
    await server?.down();
  });

  const lease = (name: string) => client.get<Lease>(LEASES, { namespace: 'default', name });
  /** An elector that leads until told to stop. */
  type Options = { through?: KubeClient; drain?: Promise<void>; times?: typeof LASTING };
  const elect = (name: string, identity: string, options: Options = {}) => {
    const { log, text } = createRecordingLog();
    const elector = createLeaderElector({
      client: options.through ?? client,
      namespace: 'default',
      name,
      identity,
      log,
      ...(options.times ?? LASTING),
    });
    const stop = new AbortController();
    const since: { led: number; ended: number } = { led: 0, ended: 0 };
    let lost: AbortSignal | undefined;
    const outcome = elector.run(stop.signal, async (signal, lostLease) => {
      since.led = performance.now();
      lost = lostLease;
      if (!signal.aborted) await once(signal, 'abort');
      since.ended = performance.now();
      await options.drain;
    });
    return { elector, stop, outcome, since, text, isLost: () => lost?.aborted };
  };

  it('has one leader, who keeps the lease while it drains, and gives it back at once when done', async () => {
    const { promise: drain, resolve: drained } = Promise.withResolvers<void>();
    const first = elect('handover', 'first', { drain });
    await until('the first to lead', first.elector.isLeader, PATIENT);
    const second = elect('handover', 'second');
    await until('the second to know', () => second.elector.leader() === 'first', PATIENT);
    first.stop.abort();
    // The drain counts on the lease being renewed, however long it takes.
    const renewals = new Set<string | undefined>();
    const renewed = async () => renewals.add((await lease('handover')).spec?.renewTime).size > 5;
    await until('renewals', renewed, PATIENT);
    expect(second.since.led).toBe(0);
    expect(first.isLost()).toBe(false);
    expect(first.elector.isLeader()).toBe(true);
    drained();
    expect(await first.outcome).toBe('stopped');
    expect(first.elector.isLeader()).toBe(false);
    const released = performance.now();
    await until('the second to lead', second.elector.isLeader, PATIENT);
    // Had it to wait for the lease to run out, it would wait for a minute.
    expect(second.since.led - released).toBeLessThan(LASTING.leaseMs / 2);
    expect((await lease('handover')).spec).toMatchObject({
      holderIdentity: 'second',
      leaseDurationSeconds: 60,
      leaseTransitions: 1,
    });
    second.stop.abort();
    expect(await second.outcome).toBe('stopped');
    expect((await lease('handover')).spec?.holderIdentity).toBeUndefined();
  });

  it('has at most one leader among ten who come at once', async () => {
    const electors = Array.from({ length: 10 }, (_, i) => elect('crowd', `e${i}`));
    let most = 0;
    for (let left = electors; left.length > 0; ) {
      await until('a leader', () => left.some(({ elector }) => elector.isLeader()), PATIENT);
      const leaders = left.filter(({ elector }) => elector.isLeader());
      most = Math.max(most, leaders.length);
      leaders[0]?.stop.abort();
      expect(await leaders[0]?.outcome).toBe('stopped');
      left = left.filter((one) => one !== leaders[0]);
      if (left.length < 7) for (const { stop } of left) stop.abort();
      if (left.length < 7) break;
    }
    expect(most).toBe(1);
    await Promise.all(electors.map(({ outcome }) => outcome));
  });

  it('ends before anybody else begins when the wire falls silent', async () => {
    const cut = elect('silent', 'cut', { through: wired, times: SHORT });
    await until('it to lead', cut.elector.isLeader, PATIENT);
    const other = elect('silent', 'other', { times: SHORT });
    await until('the other to know', () => other.elector.leader() === 'cut', PATIENT);
    wire.hold(true);
    wire.stall();
    expect(await cut.outcome).toBe('lost');
    expect(cut.elector.isLeader()).toBe(false);
    await until('the other to lead', other.elector.isLeader, PATIENT);
    expect(other.since.led).toBeGreaterThan(cut.since.ended + (SHORT.leaseMs - SHORT.renewMs) / 5);
    wire.hold(false);
    other.stop.abort();
    await other.outcome;
  });

  it('tells of a lease that is lost while its work comes to an end', async () => {
    const { promise: drain, resolve: drained } = Promise.withResolvers<void>();
    const cut = elect('draining', 'cut', { through: wired, drain, times: { ...SHORT, renewMs: 8_000 } });
    await until('it to lead', cut.elector.isLeader, PATIENT);
    cut.stop.abort();
    expect(cut.isLost()).toBe(false);
    wire.hold(true);
    wire.stall();
    expect(await cut.outcome).toBe('lost');
    expect(cut.isLost()).toBe(true);
    wire.hold(false);
    drained();
  });

  it('outlives a restart of the server that is shorter than its patience', async () => {
    const one = createLeaderElector({
      client,
      namespace: 'default',
      name: 'restart',
      identity: 'one',
      leaseMs: 150_000,
      renewMs: 120_000,
      retryMs: 300,
    });
    const stop = new AbortController();
    const outcome = one.run(stop.signal, async (signal) => void (await once(signal, 'abort')));
    await until('it to lead', one.isLeader, PATIENT);
    await server.kill();
    await server.restart();
    const now = new Date().toISOString();
    await until('a renewal', async () => ((await lease('restart')).spec?.renewTime ?? '') > now, PATIENT);
    expect(one.isLeader()).toBe(true);
    stop.abort();
    expect(await outcome).toBe('stopped');
  });

  it('sends no write of a client that is guarded by somebody who does not lead, and all its reads', async () => {
    let leads = true;
    const [direct] = connections as [Connection];
    const guarded = createClient({ connection: guardWrites(direct, () => leads) });
    const object: KubeObject = { metadata: { namespace: 'default', name: 'guarded' } };
    const made = await guarded.create(CONFIG_MAPS, object);
    leads = false;
    const place = { namespace: 'default', name: 'guarded' };
    for (const write of [
      () => guarded.create(CONFIG_MAPS, object),
      () => guarded.update(CONFIG_MAPS, { ...made, data: { x: '1' } } as KubeObject),
      () => guarded.apply(CONFIG_MAPS, object, { fieldManager: 'x' }),
      () => guarded.patch(CONFIG_MAPS, place, { type: 'merge', body: { data: { x: '1' } } }),
      () => guarded.delete(CONFIG_MAPS, place),
      () => guarded.raw('DELETE', '/api/v1/namespaces/default/configmaps/guarded'),
    ])
      await expect(write()).rejects.toBeInstanceOf(WriteRefused);
    expect(await guarded.get(CONFIG_MAPS, place)).toEqual(made);
    expect(await guarded.raw('GET', '/api/v1/namespaces/default/configmaps/guarded')).toEqual(made);
  });

  it('takes over from a process that was stopped, which begins no write when it wakes up', async () => {
    const script = join(import.meta.dirname, '../support/kube/elector-process.ts');
    const begin = (identity: string) => {
      const child = spawn(process.execPath, [script, server.kubeconfig, identity], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let said = '';
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk;
      });
      // Not 'exit': what it said last may still be on its way then.
      return { child, said: () => said, ended: once(child, 'close') };
    };
    type Written = KubeObject & { data?: { writer: string } };
    const writers: string[] = [];
    const informer = createInformer<Written>({ client, resource: CONFIG_MAPS, fieldSelector: 'metadata.name=writer' });
    const note = ({ data }: Written) => writers.push(data?.writer ?? '');
    informer.addHandler({ add: note, update: note });
    const stop = new AbortController();
    const informed = informer.run(stop.signal);
    const [a, b] = [begin('a'), begin('b')];
    try {
      await until('one to write', () => writers.length > 10, PATIENT);
      const [first, second] = writers.at(-1) === 'a' ? ([a, b] as const) : ([b, a] as const);
      const name = writers.at(-1);
      first.child.kill('SIGSTOP');
      const state = () => a.said() + b.said();
      await until('the other to write', () => writers.at(-1) !== name, { ...PATIENT, state });
      const takenOver = writers.length;
      first.child.kill('SIGCONT');
      expect((await first.ended)[0]).toBe(1);
      await until('the other to go on', () => writers.length > takenOver + 50, { ...PATIENT, state });
      // The write that was on its way when the process was stopped may still arrive; no other does.
      expect(writers.slice(takenOver).filter((writer) => writer === name).length).toBeLessThanOrEqual(1);
      expect(first.said()).toContain('lost');
      second.child.kill('SIGTERM');
      expect((await second.ended)[0]).toBe(0);
      expect(second.said()).toMatch(/^leading\n(.*\n)*stopped\n$/);
    } finally {
      for (const { child } of [a, b]) child.kill('SIGKILL');
      await Promise.all([a.ended, b.ended]);
      stop.abort();
      await informed;
    }
  });
});
