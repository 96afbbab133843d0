import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient } from '../../../src/kube/client.ts';
import { guardWrites } from '../../../src/kube/guard-writes.ts';
import { createLeaderElector } from '../../../src/kube/leader-election.ts';
import { CONFIG_MAPS } from '../../../src/kube/resource.ts';
import { clientOf } from './client.ts';

// A process that wants to lead, and while it does writes its name as fast as it can. Stopped by SIGTERM. Says on stdout what it is.
const [kubeconfig = '', identity = ''] = process.argv.slice(2);
const { client, connection } = clientOf(readFileSync(kubeconfig, 'utf8'));
const elector = createLeaderElector({
  client,
  namespace: 'default',
  name: 'test-lease',
  identity,
  // A machine that stands still for some seconds takes it from nobody.
  leaseMs: 12_000,
  renewMs: 10_000,
  retryMs: 300,
});
const guarded = createClient({ connection: guardWrites(connection, elector.isLeader) });
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
const outcome = await elector.run(stop.signal, async (signal) => {
  console.log('leading');
  for (let count = 1; !signal.aborted; count++) {
    const metadata = { name: 'writer', namespace: 'default' };
    const data = { writer: identity, count: String(count) };
    await guarded
      .apply(CONFIG_MAPS, { metadata, data } as { metadata: object }, { fieldManager: 'writer', force: true })
      .catch(async (error: Error) => {
        console.log(`refused: ${error.name}`);
        await pause(50);
      });
  }
});
console.log(outcome);
await connection.close();
process.exit(outcome === 'lost' ? 1 : 0);
