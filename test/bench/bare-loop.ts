import { Pool } from 'undici';
import { FIELD_MANAGER } from '../../src/operator/resource.ts';

export type Write = { readonly path: string; readonly body: object };
/** `writes`: of each tunnel, one after the other. */
export type Order = {
  readonly credentials: { readonly server: string; readonly ca: string; readonly cert: string; readonly key: string };
  readonly concurrency: number;
  readonly writes: readonly (readonly Write[])[];
};

/**
 * What a controller is measured against: server-side applies over kept-alive connections and nothing else. In a process of its own,
 * as the operator is: beside the watches of the bench it would be measured with their work on its back.
 */
const run = async ({ credentials: { server, ca, cert, key }, concurrency, writes }: Order): Promise<void> => {
  const pool = new Pool(server, { connections: concurrency, connect: { ca, cert, key } });
  const apply = async ({ path, body }: Write) => {
    const { statusCode, body: answer } = await pool.request({
      method: 'PATCH',
      path: `${path}?fieldManager=${FIELD_MANAGER}&force=true`,
      headers: { 'Content-Type': 'application/apply-patch+yaml', Accept: 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (statusCode >= 300) throw new Error(`expected PATCH ${path} to succeed; got ${statusCode}: ${text}`);
    JSON.parse(text);
  };
  const entries = writes.values();
  const worker = async () => {
    for (const ofOne of entries) for (const write of ofOne) await apply(write);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  await pool.close();
};

process.once('message', (order) => {
  void run(order as Order).then(() => process.disconnect());
});
