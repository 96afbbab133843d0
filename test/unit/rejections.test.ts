import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createControlSocket } from '../../src/supervisor/control-socket.ts';
import type { Heartbeat } from '../../src/supervisor/heartbeat.ts';
import { listenForBack } from '../../src/supervisor/loop-back.ts';
import { type RunOptions, runTunnel } from '../../src/supervisor/run-tunnel.ts';
import { spawnAgent } from '../../src/supervisor/ssh-agent.ts';
import type { Event } from '../../src/tunnel/machine.ts';
import { residentPolicy } from '../../src/tunnel/policy-resident.ts';
import { until } from '../support/until.ts';

const policy = residentPolicy({
  ...{ bornAt: 0, periodMs: 1_000, firstBeatMs: 1_000, failureThreshold: 2, connectDeadlineMs: 60_000 },
  ...{ killGraceMs: 5_000, provenMs: 30_000 },
  retry: { networkMaxSeconds: 1, remotePortBusySeconds: 1, authMaxSeconds: 1 },
});
const directory = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'rejections-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

/** vitest fails a run with an unhandled rejection; the program would end by it. */
describe('what breaks a promise of its own', () => {
  /** A tunnel of processes that only sleep. */
  const run = (launch: RunOptions['launch']) => {
    const events: Event[] = [];
    const onTransition: RunOptions['onTransition'] = (_before, event) => events.push(event);
    const running = runTunnel({ policy, bornAt: performance.now(), launch, onTransition });
    onTestFinished(async () => {
      running.dispatch({ type: 'stop', signal: 15 });
      await running.done;
    });
    running.dispatch({ type: 'start' });
    return events;
  };
  const heartbeat = (beat: Heartbeat['beat']): Heartbeat => ({
    ...{ method: 'Broken', sshArgs: [], open: async () => {}, beat, close: () => {} },
  });
  const sleeping = { path: 'sleep', args: ['600'], env: { PATH: process.env['PATH'] }, attached: false };

  it.each([
    ['rejects', () => Promise.reject(new Error('no such thing'))],
    [
      'throws',
      () => {
        throw new Error('no such thing');
      },
    ],
  ])('a beat that %s is a beat that failed', async (_how, beat) => {
    const events = run(() => ({ ...sleeping, heartbeat: heartbeat(beat) }));
    const failed = () => events.filter(({ type }) => type === 'beatFailed');
    await until('two failed beats and another ssh', () => events.filter(({ type }) => type === 'spawned').length > 1);
    expect(failed().slice(0, 2)).toEqual(
      Array(2).fill({ type: 'beatFailed', reason: 'HeartbeatLost', detail: 'no such thing' }),
    );
  });

  it('a launch that rejects is tried again', async () => {
    let tries = 0;
    const events = run(async () => {
      if (++tries === 1) throw new Error('no such thing');
      return { ...sleeping, heartbeat: heartbeat(async () => ({ ok: true, rttMs: 1 })) };
    });
    await until('ssh', () => events.some(({ type }) => type === 'spawned'));
    expect(events.find(({ type }) => type === 'exited')).toMatchObject({ reason: 'Unknown', detail: 'no such thing' });
  });

  it('a question over the control socket that cannot be asked is answered, and so is the next', async () => {
    const control = createControlSocket('ssh', { PATH: process.env['PATH'] });
    onTestFinished(control.remove);
    // No program takes this for a timeout.
    const never = Number.NaN;
    const spec = ['-L', `${control.dir}/out:127.0.0.1:1`];
    const silent = { ok: false, refused: false };
    expect(await control.forward(spec, never)).toMatchObject({ ...silent, problem: expect.stringMatching(/timeout/) });
    expect(await control.cancel(spec, 5_000)).toMatchObject({ ...silent, problem: expect.stringMatching(/ctl/) });
    const channel = await control.channel('127.0.0.1:1', never, new AbortController().signal);
    expect(channel).toMatchObject({ is: 'Silent', problem: expect.stringMatching(/timeout/) });
  });

  it('an agent that never says that it listens is none', async () => {
    const dir = directory();
    const program = join(dir, 'ssh-agent');
    writeFileSync(program, '#!/bin/sh\nexec /bin/sleep 600\n');
    chmodSync(program, 0o755);
    const agent = spawnAgent(join(dir, 'agent'), { PATH: dir }, 200);
    onTestFinished(() => void agent?.kill());
    expect(await agent?.ready).toBe(false);
  });

  it('a listener that cannot accept (no more files) goes on listening', async () => {
    const server = await listenForBack(join(directory(), 'back'));
    onTestFinished(() => void server.close());
    for (let time = 0; time < 2; time++) server.emit('error', new Error('accept EMFILE'));
    expect(server.listening).toBe(true);
  });
});
