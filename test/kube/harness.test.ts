import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { upApiServer } from '../support/cluster/index.ts';
import { startTime } from '../support/cluster/owner.ts';
import { marked } from '../support/cluster/runs.ts';

describe('a real API server without nodes', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  beforeAll(async () => {
    server = await upApiServer();
  });
  afterAll(async () => {
    await server?.down();
  });

  const kubectl = async (...args: string[]) => {
    const { stdout, stderr, code } = await server.kubectl(args);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    return stdout;
  };

  it('keeps what kubectl wrote over a restart on the same port', async () => {
    await kubectl('create', 'configmap', 'kept', '--from-literal=word=kept');
    await server.restart();
    expect(await kubectl('get', 'configmap', 'kept', '-o', 'jsonpath={.data.word}')).toBe('kept');
  });

  it('keeps it over a crash', async () => {
    await server.kill();
    expect((await server.kubectl(['get', 'namespaces', '--request-timeout=2s'])).code).toBe(1);
    await server.restart();
    expect(await kubectl('get', 'configmap', 'kept', '-o', 'jsonpath={.data.word}')).toBe('kept');
  });

  // The server answers from snapshots in its own memory as long as it has them: only a restart shows what etcd forgot.
  it('answers 410 to a list that goes on from before a compaction and a restart', async () => {
    for (const name of ['a', 'b', 'c']) await kubectl('create', 'configmap', name);
    const list = '/api/v1/namespaces/default/configmaps?limit=1';
    const first = JSON.parse(await kubectl('get', '--raw', list)) as { metadata: { continue: string } };
    await kubectl('create', 'configmap', 'd');
    await server.compact();
    await server.restart();
    const next = await server.kubectl(['get', '--raw', `${list}&continue=${first.metadata.continue}`]);
    expect(next.stderr).toContain('Error from server (Expired)');
  });

  it('passes a refusal on as a code and a text', async () => {
    const { code, stderr } = await server.kubectl(['apply', '-f', '-'], {
      input: '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not A Name"}}',
    });
    expect(code).toBe(1);
    expect(stderr).toContain('Invalid value: "Not A Name"');
  });

  it('stands beside another one', async () => {
    const other = await upApiServer({ extraFlags: ['--event-ttl=5m'] });
    try {
      expect((await other.kubectl(['get', 'configmap', 'kept'])).code).toBe(1);
    } finally {
      await other.down();
    }
    expect(marked(other.dir)).toEqual([]);
    expect(await kubectl('get', 'configmap', 'kept', '-o', 'name')).toBe('configmap/kept\n');
  });

  it('leaves nothing behind', async () => {
    const processes = marked(server.dir);
    expect(processes.length).toBeGreaterThanOrEqual(2);
    await server.down();
    expect(processes.filter((pid) => startTime(pid) !== undefined)).toEqual([]);
    expect(existsSync(server.dir)).toBe(false);
  });
});
