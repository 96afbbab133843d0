import { join } from 'node:path';
import { freePort } from '../port.ts';
import { startDaemon } from './process.ts';
import type { Run } from './runs.ts';
import { Hopeless, until } from './until.ts';

export type Etcd = {
  readonly url: string;
  compact(): Promise<void>;
};

/** One etcd on loopback, its data in the run's folder. Never a durable one: the data is as short-lived as the run. */
export async function startEtcd(run: Run, program: string): Promise<Etcd> {
  const url = `http://127.0.0.1:${await freePort('127.0.0.1')}`;
  const daemon = startDaemon('etcd', {
    argv: [
      program,
      `--data-dir=${join(run.dir, 'etcd')}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      '--listen-peer-urls=http://127.0.0.1:0',
      '--unsafe-no-fsync',
    ],
    logFile: join(run.dir, 'log', 'etcd.log'),
    env: run.env,
  });
  await until(
    'etcd to call itself healthy',
    async () => {
      if (!daemon.running()) throw new Hopeless(`expected etcd to stay; it ended\n${daemon.logTail()}`);
      return (await fetch(`${url}/health`)).ok || undefined;
    },
    { seconds: 60, everyMilliseconds: 50, explain: () => daemon.logTail() },
  );
  return { url, compact: () => compact(url) };
}

/** By etcd's JSON gateway: its own client would be one more package to install. */
async function compact(url: string): Promise<void> {
  const { header } = (await post(`${url}/v3/kv/range`, { key: Buffer.from('/').toString('base64') })) as {
    header: { revision: string };
  };
  await post(`${url}/v3/kv/compaction`, { revision: header.revision, physical: true });
}

async function post(url: string, body: unknown): Promise<unknown> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok)
    throw new Error(`expected etcd to answer 200 at ${url}; got ${answer.status}: ${await answer.text()}`);
  return await answer.json();
}
