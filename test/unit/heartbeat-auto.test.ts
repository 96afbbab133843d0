import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { autoHeartbeat } from '../../src/supervisor/heartbeat-auto.ts';
import { until } from '../support/until.ts';

/** The process does nothing, not even look at its sockets, as on a machine that is too busy. */
const halt = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

it('welcomes the way back that is there before the way out is known to be open', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'channel-'));
  const [out, echo] = [join(dir, 'out'), join(dir, 'echo')];
  const helpers: ChildProcess[] = [];
  const { signal } = new AbortController();
  writeFileSync(join(dir, 'ctl'), '');
  const heartbeat = autoHeartbeat({
    control: {
      dir,
      path: join(dir, 'ctl'),
      masterArgs: [],
      // In place of ssh and the server: what goes in at `out` comes back at `echo`.
      forward: async ([flag]) => {
        if (flag === '-R') return { ok: true, output: '2222' };
        helpers.push(spawn('socat', [`UNIX-LISTEN:${out},fork`, `UNIX-CONNECT:${echo}`], { stdio: 'ignore' }));
        await until('a way out', () => existsSync(out));
        return { ok: true, output: '' };
      },
      cancel: async () => ({ ok: true, output: '' }),
      channel: async () => ({ is: 'Opened' }),
      remove: () => rmSync(dir, { recursive: true, force: true }),
    },
    message: '',
    timeoutMs: 10_000,
    log: () => {},
    expectNoise: () => {},
  });
  try {
    await heartbeat.open(signal);
    const beat = heartbeat.beat(signal);
    halt(500);
    expect(await beat).toMatchObject({ ok: true });
    expect(heartbeat.method).toBe('Loop');
  } finally {
    heartbeat.close();
    for (const helper of helpers) helper.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  }
});
