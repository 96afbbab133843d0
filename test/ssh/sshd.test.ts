import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { processOf } from '../support/processes.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/** The server every other test stands on: what its handle promises. */
describe('startSshd', () => {
  const open: Sshd[] = [];
  const start = async (...args: Parameters<typeof startSshd>) => {
    const sshd = await startSshd(...args);
    open.push(sshd);
    return sshd;
  };
  afterEach(async () => {
    for (const sshd of open.splice(0)) await sshd.stop();
  });
  const run = (sshd: Sshd, ...command: string[]) =>
    execFileSync('ssh', [...sshd.sshArgs, sshd.destination, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const hold = async (sshd: Sshd) => {
    const ssh = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'ssh', '-N', ...sshd.sshArgs, sshd.destination], {
      stdio: 'ignore',
    });
    await until('a session', () => /Accepted publickey/.test(sshd.log()) && sshd.sessions().length > 0, {
      state: sshd.log,
    });
    return ssh;
  };

  it('logs in with its own key, and leaves nothing behind', async () => {
    const sshd = await start();
    expect(run(sshd, 'echo', 'hello')).toBe('hello\n');
    expect(sshd.log()).toMatch(/Accepted publickey/);
    await sshd.stop();
    await sshd.stop();
    expect(existsSync(sshd.dir)).toBe(false);
  });

  it('puts extra lines before its own and options before the key', async () => {
    const sshd = await start({ config: ['ForceCommand echo forced'] });
    expect(run(sshd, 'echo', 'hello')).toBe('forced\n');
    await sshd.restart({ config: [], keyOptions: 'command="echo by-key"' });
    expect(run(sshd, 'echo', 'hello')).toBe('by-key\n');
  });

  it('restarts on the same port; a new host key is not the one clients know', async () => {
    const sshd = await start();
    const { port } = sshd;
    await sshd.kill();
    expect(sshd.listener()).toBeUndefined();
    await sshd.restart();
    expect(sshd.port).toBe(port);
    expect(run(sshd, 'echo', 'again')).toBe('again\n');
    await sshd.restart({ newHostKey: true });
    expect(() => run(sshd, 'true')).toThrow(/Host key verification failed/);
  });

  it('kills sessions without the listener, and sessions whose listener is gone', async () => {
    const sshd = await start();
    const first = await hold(sshd);
    await sshd.kill('sessions');
    await until('the first client to end', () => first.exitCode !== null);
    expect(sshd.sessions()).toEqual([]);
    expect(sshd.listener()).toBeGreaterThan(0);
    const second = await hold(sshd);
    await sshd.kill('listener');
    expect(sshd.sessions()).not.toEqual([]);
    await sshd.kill('sessions');
    await until('the second client to end', () => second.exitCode !== null);
  });

  it('pauses and resumes every process', async () => {
    const sshd = await start();
    const ssh = await hold(sshd);
    // Whoever lives now: the process that let the client in may just be ending.
    const states = () => [sshd.listener() ?? 0, ...sshd.sessions()].map((pid) => processOf(pid)?.state);
    sshd.pause();
    await until('all stopped', () => states().every((state) => state === 'T'), { state: states });
    expect(states().length).toBeGreaterThan(1);
    sshd.resume();
    await until('all running', () => !states().includes('T'), { state: states });
    expect(ssh.exitCode).toBeNull();
    sshd.pause();
    await sshd.stop();
    await until('the client to end', () => ssh.exitCode !== null);
  });
});
