import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { ControlAnswer } from '../../src/supervisor/control-socket.ts';
import { autoHeartbeat } from '../../src/supervisor/heartbeat-auto.ts';
import { listensAt } from '../support/unix-socket.ts';
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
        await until('a way out', () => listensAt(out));
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

for (const [server, first] of [
  ['allows the loop', { ok: true, output: '2222' }],
  ['allows no loop', { ok: false, refused: true, problem: 'mux_client_forward: forwarding request failed: x' }],
] as const)
  it(`a server that ${server} is asked once, although the first beat comes before it has answered`, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'channel-'));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    writeFileSync(join(dir, 'ctl'), '');
    const asked: string[] = [];
    const answers: Array<() => void> = [];
    const heartbeat = autoHeartbeat({
      control: {
        ...{ dir, path: join(dir, 'ctl'), masterArgs: [] },
        forward: ([flag = '', spec = '']) => {
          asked.push(`${flag} ${spec.replaceAll(`${dir}/`, '')}`);
          const answer: ControlAnswer = flag === '-R' ? first : { ok: true, output: '' };
          return new Promise((resolve) => answers.push(() => resolve(answer)));
        },
        cancel: async () => ({ ok: true, output: '' }),
        channel: async () => ({ is: 'Opened' }),
        remove: () => {},
      },
      message: '',
      timeoutMs: 20_000,
      log: () => {},
      expectNoise: () => {},
    });
    const connection = new AbortController();
    const opened = heartbeat.open(connection.signal);
    await until('the first question', () => asked.length === 1);
    const beat = heartbeat.beat(connection.signal);
    let over = false;
    void Promise.allSettled([opened, beat]).then(() => {
      over = true;
    });
    await until('all answers', () => {
      for (const answer of answers.splice(0)) answer();
      return over;
    });
    // Nobody listens here, so that no beat is a good one: what was asked for, and when, is the point.
    const way = first.ok
      ? ['-R 127.0.0.1:0:echo', '-L out:127.0.0.1:2222']
      : ['-R 127.0.0.1:0:echo', '-L ping:127.0.0.1:1'];
    expect(asked).toEqual(['-L ping-first:127.0.0.1:1', ...way]);
    heartbeat.close();
  });
