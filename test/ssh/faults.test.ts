import { readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it, type TestContext } from 'vitest';
import { type Autossh, type AutosshOptions, tunnelArgs } from '../support/autossh.ts';
import { comesBack, flows, type Service, startService } from '../support/echo.ts';
import { autosshIn, networkIn, sshdIn } from '../support/in-test.ts';
import { itWith } from '../support/needs.ts';
import { whyNoNetns } from '../support/netns.ts';
import { freePort } from '../support/port.ts';
import { isAlive, signal } from '../support/processes.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/**
 * What the original fails at, and whatever else kills or cuts a tunnel. Each test proves by bytes to a real service that the tunnel
 * is back. The beats have 1.5 s to come back, for the sake of slow machines: an ssh more than expected is no fault.
 */
const POLL = { AUTOSSH_POLL: '3' };
/** Where one more would be a fault: a login has 10 s, and so has a beat. */
const PATIENT = { AUTOSSH_POLL: '20', AUTOSSH_FIRST_POLL: '10' };

const startIn = (context: TestContext, options: AutosshOptions): Autossh =>
  autosshIn(context, { ...options, env: { ...POLL, ...options.env } });

describe.concurrent('faults', () => {
  let sshd: Sshd;
  let service: Service;
  beforeAll(async () => {
    [sshd, service] = await Promise.all([startSshd(), startService()]);
  });
  afterAll(async () => {
    await sshd.stop();
    await service.stop();
  });

  /** A tunnel to the service, proven. */
  const open = async (
    context: TestContext,
    { server = sshd, monitor = 'auto', args = [] as string[], env = {} } = {},
  ) => {
    const at = { host: '127.0.0.1', port: await freePort() };
    const forward = ['-L', `${at.port}:127.0.0.1:${service.port}`];
    const autossh = startIn(context, {
      args: ['-M', monitor, ...args, ...tunnelArgs(server, ...forward)],
      env,
    });
    await flows(at, autossh.stderr);
    return { autossh, at, ssh: await autossh.ssh() };
  };

  for (const monitor of ['auto', '0'])
    for (const [name, line] of [
      ['SIGTERM', /ssh exited with status 0; restarting ssh/],
      ['SIGKILL', /ssh exited on signal 9, restarting ssh/],
    ] as const)
      it(`-M ${monitor}: ssh ended by ${name} is started again`, async (context) => {
        // No beat that comes too late may end ssh first.
        const { autossh, at, ssh } = await open(context, { monitor, env: { AUTOSSH_POLL: '600' } });
        context.expect(signal(ssh, name)).toBe(true);
        await autossh.said(line);
        context.expect(await autossh.nextSsh(ssh)).not.toEqual(ssh);
        await flows(at, autossh.stderr);
      });

  it('a stopped ssh is missed by the heartbeat, killed, and replaced', async (context) => {
    const { autossh, at, ssh } = await open(context, { env: PATIENT });
    context.expect(signal(ssh, 'SIGSTOP')).toBe(true);
    await autossh.said(/port down, restarting ssh/);
    await autossh.said(/ssh did not end on SIGTERM, sending SIGKILL/);
    await autossh.nextSsh(ssh);
    context.expect(isAlive(ssh)).toBe(false);
    await flows(at, autossh.stderr);
  });

  it('AUTOSSH_PORT=auto, which wins over -M: a loop over the control socket, and over that of the next ssh', async (context) => {
    const { autossh, at } = await open(context, { monitor: '0', env: { AUTOSSH_PORT: 'auto' } });
    const loop = /heartbeat: loop through port \d+ of the server/;
    await autossh.said(loop);
    await autossh.said(/connection ok/);
    const from = autossh.lines().length;
    // The one that runs now: a slow machine may have needed more than one.
    const ssh = await autossh.ssh();
    signal(ssh, 'SIGSTOP');
    await autossh.said(/port down, restarting ssh/, from);
    await autossh.nextSsh(ssh);
    await flows(at, autossh.stderr);
    await autossh.said(loop, from);
    const again = autossh.lines().findLastIndex((line) => /starting ssh/.test(line));
    await autossh.said(/connection ok/, again);
  });

  it('SIGTERM while ssh hangs ends both within the grace', async (context) => {
    const { autossh, ssh } = await open(context, { env: { AUTOSSH_POLL: '600' } });
    signal(ssh, 'SIGSTOP');
    const asked = performance.now();
    signalChild(autossh, 'SIGTERM');
    context.expect(await autossh.ended()).toEqual({ code: 1, signal: null });
    // 5 s, and what a busy machine adds; the original waits for ever.
    context.expect(performance.now() - asked).toBeLessThan(30_000);
    context.expect(isAlive(ssh)).toBe(false);
    await autossh.said(/received signal to exit \(15\)/);
    await autossh.said(/sending SIGKILL/);
  });

  it('a restarted sshd is found again', async (context) => {
    const server = await sshdIn(context);
    const { autossh, at, ssh } = await open(context, { server });
    await server.restart();
    await autossh.nextSsh(ssh);
    await flows(at, autossh.stderr);
  });

  it('an sshd that is away for a while is waited for, without a storm of starts', async (context) => {
    const server = await sshdIn(context);
    const { autossh, at } = await open(context, { server });
    await server.kill();
    await until('some refused tries', () => refusals(autossh) >= 8, { state: autossh.stderr, deadlineMs: 90_000 });
    await server.restart();
    await flows(at, autossh.stderr);
    // 1.4g's own pace: the first tries at once, then none sooner than the grace time allows.
    context.expect(autossh.starts()).toBeLessThan(60);
  });

  it('an sshd that stands still is noticed, and used again when it goes on', async (context) => {
    const server = await sshdIn(context);
    const { autossh, at } = await open(context, { server });
    const from = autossh.lines().length;
    server.pause();
    await autossh.said(/port down, restarting ssh/, from);
    await autossh.said(/starting ssh/, from);
    server.resume();
    await flows(at, autossh.stderr);
  });

  it('ten clients with automatic ports beat side by side on one sshd', async (context) => {
    const server = await sshdIn(context);
    const clients = await Promise.all(Array.from({ length: 10 }, () => open(context, { server, env: PATIENT })));
    await Promise.all(clients.map(({ autossh }) => autossh.said(/connection ok/)));
    const loops = clients.map(({ autossh }) => autossh.stderr().match(/loop through port (\d+)/)?.[1]);
    context.expect(new Set(loops).size).toBe(10);
    context.expect(loops).not.toContain(undefined);
    await Promise.all(clients.map(({ at, autossh }) => flows(at, autossh.stderr)));
  });

  for (const [what, greeting, args] of [
    ['is silent', '', []],
    ['is silent, and ssh has a ConnectTimeout', '', ['-o', 'ConnectTimeout=3']],
    // ssh's ConnectTimeout does not see this one.
    ['says only its name', 'SSH-2.0-Silent\r\n', ['-o', 'ConnectTimeout=3']],
  ] as const)
    it(`${what}: ssh is started again until the server works`, async (context) => {
      const front = await startFront(context, sshd);
      front.say(greeting);
      const { autossh, at } = await openThrough(context, front.port, args, { AUTOSSH_POLL: '6' });
      await until('three tries', () => autossh.starts() >= 3, { state: autossh.stderr, deadlineMs: 90_000 });
      context.expect(await comesBack(at)).toBe(false);
      front.work();
      await flows(at, autossh.stderr);
    });

  it('with the times of the original (600 s between beats) the connection has a minute', async (context) => {
    const front = await startFront(context, sshd);
    front.say('');
    const { autossh, at } = await openThrough(context, front.port, [], { AUTOSSH_POLL: '600' });
    const line = await autossh.said(/no connection \d+ s after ssh was started, restarting ssh/, 0, 120_000);
    const waited = Number(/no connection (\d+) s/.exec(line)?.[1]);
    context.expect(waited).toBeGreaterThanOrEqual(60);
    // A busy machine may be late; the next beat would be much later.
    context.expect(waited).toBeLessThan(120);
    front.work();
    await flows(at, autossh.stderr);
  });

  const openThrough = async (context: TestContext, port: number, args: readonly string[], env = {}) => {
    const at = { host: '127.0.0.1', port: await freePort() };
    const through = { ...sshd, sshArgs: sshd.sshArgs.map((arg) => (arg === `${sshd.port}` ? `${port}` : arg)) };
    const name = ['-o', `HostKeyAlias=[127.0.0.1]:${sshd.port}`];
    const forward = ['-L', `${at.port}:127.0.0.1:${service.port}`];
    const autossh = startIn(context, { args: [...args, ...name, ...tunnelArgs(through, ...forward)], env });
    return { autossh, at };
  };

  const itOverNetwork = itWith(whyNoNetns());
  type Network = Awaited<ReturnType<typeof networkIn>>;

  /** A tunnel with a forward in each direction, both proven. */
  const openBoth = async (
    context: TestContext,
    { path, sshd, service }: Network,
    monitor: string,
    { args = [] as string[], env = {} } = {},
  ) => {
    const there = { path: join(sshd.dir, 'there') };
    const forwards = ['-L', `${there.path}:${service.path}`, '-R', `8080:${service.path}`];
    const autossh = startIn(context, {
      wrap: path.at('client'),
      args: ['-M', monitor, '-o', 'StreamLocalBindUnlink=yes', ...args, ...tunnelArgs(sshd, ...forwards)],
      env,
    });
    const back = { path: await path.reach('server', 8080, join(sshd.dir, 'back')) };
    await flows(there, autossh.stderr);
    await flows(back, autossh.stderr);
    return { autossh, there, back };
  };

  for (const monitor of ['auto', '20000'])
    for (const exits of ['yes', 'no'])
      itOverNetwork(
        `-M ${monitor}, ExitOnForwardFailure=${exits}: a cut path, and the old session holds the remote port`,
        async (context) => {
          // Long enough that the next ssh is there before the old session is gone.
          const net = await networkIn(context, ['ClientAliveInterval 10', 'ClientAliveCountMax 2']);
          const { path, sshd } = net;
          const { autossh, there, back } = await openBoth(context, net, monitor, {
            args: ['-o', `ExitOnForwardFailure=${exits}`],
          });
          await autossh.said(/connection ok/);
          const old = clientPorts(sshd);
          const from = autossh.lines().length;
          path.cut();
          await autossh.said(/port down, restarting ssh/, from);
          // The path heals, but nothing tells the server that the old client has gone: its session stays until sshd asks for it.
          path.heal(old);
          await autossh.said(/remote port forwarding failed for listen port 8080/, from);
          // Not by asking at the port: each request there would put sshd's own asking off (OpenSSH 9.2).
          await sshd.logged(/Timeout, client not responding/, 90_000);
          await flows(there, autossh.stderr);
          await flows(back, autossh.stderr);
          await autossh.said(/connection ok/, autossh.lines().length);
        },
      );

  for (const [addresses, line, starts] of [
    [['127.0.0.1', '::1'], /monitor port 20000 is taken on the server/, 2],
    [['127.0.0.1'], /the heartbeat never came round through port 20000 of the server/, 3],
  ] as const)
    itOverNetwork(
      `-M port: the port is taken on ${addresses.join(' and ')} of the server, and the heartbeat goes another way`,
      async (context) => {
        const net = await networkIn(context);
        for (const address of addresses) await net.path.offer('server', 20_000, net.service.path, address);
        const { autossh, there, back } = await openBoth(context, net, '20000', {
          args: ['-o', 'ExitOnForwardFailure=no'],
          env: PATIENT,
        });
        await autossh.said(line, 0, 120_000);
        await autossh.said(/connection ok/);
        context.expect(autossh.starts()).toBe(starts);
        await flows(there);
        await flows(back);
      },
    );

  for (const monitor of ['auto', '20000'])
    itOverNetwork(`-M ${monitor}: the client's address changes`, async (context) => {
      const net = await networkIn(context, ['ClientAliveInterval 5', 'ClientAliveCountMax 2']);
      const { autossh, there, back } = await openBoth(context, net, monitor);
      const ssh = await autossh.ssh();
      net.path.changeClientAddress('10.99.0.77');
      await autossh.nextSsh(ssh);
      await net.sshd.logged(/Timeout, client not responding/, 90_000);
      await flows(there, autossh.stderr);
      await flows(back, autossh.stderr);
      context.expect(net.sshd.log()).toContain('Accepted publickey for root from 10.99.0.77');
    });
});

const signalChild = (autossh: Autossh, name: NodeJS.Signals) => autossh.child.kill(name);
const refusals = (autossh: Autossh) => autossh.lines().filter((line) => /Connection refused/.test(line)).length;
/** The ports from which clients have logged in. */
const clientPorts = (sshd: Sshd) =>
  [...readFileSync(sshd.logFile, 'utf8').matchAll(/Accepted publickey .* port (\d+)/g)].map(([, port = '']) => port);

/** A server that says its piece and no more, until work() makes it a way to the real one. */
const startFront = async ({ onTestFinished }: TestContext, { port }: Sshd) => {
  let greeting = '';
  let working = false;
  const guests = new Set<Socket>();
  const server: Server = createServer((guest) => {
    guests.add(guest);
    guest.on('error', () => {}).on('close', () => guests.delete(guest));
    if (!working) return void guest.write(greeting);
    const to = connect({ host: '127.0.0.1', port });
    to.on('error', () => guest.destroy()).on('close', () => guest.destroy());
    guest.on('close', () => to.destroy());
    guest.pipe(to).pipe(guest);
  });
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  onTestFinished(async () => {
    for (const guest of guests) guest.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    say: (text: string) => {
      greeting = text;
    },
    work: () => {
      working = true;
    },
  };
};
