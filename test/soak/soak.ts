import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { CONFIG_MAPS, NAMESPACES } from '../../src/kube/resource.ts';
import { SSH_TUNNELS } from '../../src/operator/resource.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { establishCrd } from '../support/kube/crd.ts';
import { tunnelOf } from '../support/tunnels.ts';
import { until } from '../support/until.ts';
import { followConfigMaps } from './config-map-history.ts';
import { leastRestarts } from './limits.ts';
import { type Watched, watchOperator } from './watch-operator.ts';
import { type Stored, type Tunnel, whyMissed } from './why-missed.ts';

export type SoakOptions = {
  readonly seconds: number;
  /** Time between two new SshTunnels. */
  readonly everyMs: number;
  /** Time between two restarts of the API server. */
  readonly restartSeconds: number;
};

export type Figures = {
  readonly objects: number;
  readonly changed: number;
  readonly deleted: number;
  readonly restarts: number;
  /** Tunnels whose status, or whose ConfigMap, is not what the tunnel asks for. */
  readonly missed: readonly string[];
  /** ConfigMaps that were changed although their content had not to be. */
  readonly rewritten: readonly string[];
  /** From the last new object, or restart, until everything was as it should be. */
  readonly settledMs: number;
} & Watched;

const NAMESPACE = 'soak';
/**
 * The other restarts are crashes, which take some seconds. An orderly end waits for requests under way, watches among them, here for
 * 30 s: longer than a lease can be renewed.
 */
const ORDERLY_ONE_IN = 4;

/** A load of SshTunnels on the real operator and a real API server that restarts again and again. */
export const soak = async (options: SoakOptions, say: (line: string) => void): Promise<Figures> => {
  const { seconds, everyMs, restartSeconds } = options;
  const server = await upApiServer({ log: say });
  const { client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8'));
  const stop = new AbortController();
  const insist = (what: string, action: () => Promise<unknown>) =>
    until(what, () => action().then(() => true, isNotFound), { deadlineMs: 120_000, everyMs: 200 });
  try {
    await establishCrd(server);
    await client.create(NAMESPACES, { metadata: { name: NAMESPACE } });
    const operator = await watchOperator(server, NAMESPACE);
    const history = followConfigMaps(client, NAMESPACE, stop.signal);

    const { apiVersion, kind } = tunnelOf();
    const put = (name: string, port: number) => {
      const { spec } = tunnelOf({ ssh: { port } });
      const object: Tunnel = { apiVersion, kind, metadata: { name, namespace: NAMESPACE }, spec };
      return client.apply(SSH_TUNNELS, object, { fieldManager: 'soak', force: true });
    };
    const counts = { objects: 0, changed: 0, deleted: 0, restarts: 0 };
    /** One in three is changed, one in five deleted, right after. */
    const live = async (index: number) => {
      const name = `t-${index}`;
      await insist(`${name} to be taken`, () => put(name, 22));
      counts.objects++;
      if (index % 3 === 0) {
        await insist(`${name} to be changed`, () => put(name, 2222));
        counts.changed++;
      }
      if (index % 5 === 0) {
        await insist(`${name} to be deleted`, () => client.delete(SSH_TUNNELS, { namespace: NAMESPACE, name }));
        counts.deleted++;
      }
    };
    const started = performance.now();
    const restart = async () => {
      const least = leastRestarts(options);
      // Where a start takes longer than from one restart to the next it all goes on for longer.
      for (let due = restartSeconds; due < seconds || counts.restarts < least; due += restartSeconds) {
        const wait = started + due * 1000 - performance.now();
        // One that took longer than to the next has missed its turn.
        if (wait < 0) continue;
        await pause(wait);
        if (++counts.restarts % ORDERLY_ONE_IN !== 0) await server.kill();
        await server.restart();
        say(`${Math.round((performance.now() - started) / 1000)} s: ${JSON.stringify(counts)} ${operator.line()}`);
      }
    };
    let isRestarting = true;
    const restarting = restart().finally(() => {
      isRestarting = false;
    });
    const living: Promise<void>[] = [];
    // A server that is away makes no gap in the load: what could not be written then comes as a burst.
    for (let index = 0; index * everyMs < seconds * 1000 || isRestarting; index++) {
      living.push(live(index));
      await pause(Math.max(0, started + (index + 1) * everyMs - performance.now()));
    }
    await Promise.all([...living, restarting]);

    const ended = performance.now();
    const missed = async () => {
      const tunnels = await client.list<Tunnel>(SSH_TUNNELS, { namespace: NAMESPACE });
      const configMaps = await client.list<Stored>(CONFIG_MAPS, { namespace: NAMESPACE });
      const byName = new Map(configMaps.items.map((one) => [one.metadata.name, one]));
      if (tunnels.items.length !== counts.objects - counts.deleted)
        return [`${tunnels.items.length} tunnels are there`];
      return tunnels.items.flatMap((tunnel) => {
        const why = whyMissed(tunnel, byName.get(`${tunnel.metadata.name}-autossh`));
        return why === undefined ? [] : [`${tunnel.metadata.name}: ${why}`];
      });
    };
    const isNoneMissed = async () => (await missed().catch((error: Error) => [error.message])).length === 0;
    const patient = { deadlineMs: 120_000, everyMs: 500 };
    await until('every tunnel to be reconciled', isNoneMissed, patient).catch((error: Error) => say(error.message));
    const settledMs = Math.round(performance.now() - ended);
    const watched = await operator.end();
    const rewritten = history.rewritten();
    const figures = { ...counts, missed: await missed(), rewritten, settledMs, ...watched };
    stop.abort();
    await history.ended;
    return figures;
  } finally {
    stop.abort();
    await connection.close();
    await server.down();
  }
};

const isNotFound = (error: { code?: number }): boolean => error.code === 404;
