import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'vitest';
import { comesBack } from '../support/echo.ts';
import { behindRelay, residentIn, serviceIn, sshdIn } from '../support/in-test.ts';
import { startMutePort } from '../support/mute.ts';
import { freePort } from '../support/port.ts';
import { type Process, signal } from '../support/processes.ts';
import type { Resident } from '../support/resident.ts';
import { turnsOf } from '../support/turns.ts';
import { until } from '../support/until.ts';

/** Each method of the resident supervisor on a real server: what it proves, what it says, and that ssh ends only when that helps. */
describe.concurrent('heartbeat of the resident supervisor', { timeout: 600_000 }, () => {
  const turn = turnsOf(6);
  const BEAT = { periodSeconds: 1, timeoutSeconds: 6 };
  const to = (target: object, listen: object) => [{ name: 'app', local: { listen, target } }];
  const anywhere = async () => to({ port: 1 }, { port: await freePort() });
  const connected = (resident: Resident) => resident.shows('a connection', (status) => status.connected);
  const shows = (resident: Resident, reason: string) =>
    resident.shows(reason, (status) => !status.connected && status.reason === reason);
  const sshOf = (resident: Resident) => until('ssh', () => resident.ssh());
  /** Beats that were refused, so far. */
  const refusals = (resident: Resident) => resident.log().filter(({ msg }) => /^heartbeat refused/.test(String(msg)));

  /** The server does not answer as asked for beat after beat, and the same ssh stays. */
  const staysWith = async ({ expect }: TestContext, resident: Resident, ssh: Process, reason: string) => {
    const { sshStarts } = await shows(resident, reason);
    const from = refusals(resident).length;
    await until('three more refusals', () => refusals(resident).length >= from + 3, { deadlineMs: 60_000 });
    expect(await resident.status()).toMatchObject({ connected: false, reason, sshStarts });
    expect((await sshOf(resident)).pid).toBe(ssh.pid);
    expect(await resident.get('/livez')).toMatchObject({ status: 200 });
    expect(await resident.get('/readyz')).toMatchObject({ status: 503, body: `${reason}\n` });
    const warnings = refusals(resident).filter(({ level }) => level === 'warn');
    expect(warnings.length).toBe(1);
  };
  /** Whatever it waits for: a path that is cut, or an ssh that is frozen, is another matter. */
  const noticesTheEnd = async (resident: Resident, cut: () => unknown) => {
    const { sshStarts } = await resident.status();
    await cut();
    await resident.shows('another ssh', (status) => status.sshStarts > sshStarts);
  };
  const debug = { env: { AUTOSSH_LOGLEVEL: '7' } };

  it('Loop: round trips', async (context) => {
    await turn(context);
    const sshd = await sshdIn(context);
    const heartbeat = { ...BEAT, method: 'Loop' };
    const resident = await residentIn(context, sshd, { forwards: await anywhere(), heartbeat });
    context.expect((await connected(resident)).heartbeatMethod).toBe('Loop');
  });

  for (const [config, reason] of [
    ['AllowTcpForwarding no', 'RemoteForwardFailed'],
    ['PermitOpen none', 'TargetUnreachable'],
  ] as const)
    it(`Loop, where the server has ${config}: ${reason}, and no storm of restarts`, async (context) => {
      await turn(context);
      const { relay, sshd } = await behindRelay(context, await sshdIn(context, { config: [config] }));
      const heartbeat = { ...BEAT, method: 'Loop' };
      const resident = await residentIn(context, sshd, { ...debug, forwards: await anywhere(), heartbeat });
      await shows(resident, reason);
      await staysWith(context, resident, await sshOf(resident), reason);
      context.expect(refusals(resident)[0]?.['detail']).toMatch(/the server allows no loop: /);
      context.expect(await resident.get('/startupz')).toMatchObject({ status: 503 });
      await noticesTheEnd(resident, () => relay.blackHole());
      await noticesTheEnd(resident, async () => signal(await sshOf(resident), 'SIGSTOP'));
    });

  it('Echo: an echo service that dies and comes back, and a path that is cut', async (context) => {
    await turn(context);
    const { relay, sshd } = await behindRelay(context, await sshdIn(context));
    const port = await freePort();
    const listen = { host: '127.0.0.1', port };
    const service = await serviceIn(context, listen);
    const heartbeat = { ...BEAT, method: 'Echo', echoPort: port };
    const resident = await residentIn(context, sshd, { ...debug, forwards: await anywhere(), heartbeat });
    context.expect((await connected(resident)).heartbeatMethod).toBe('Echo');
    const ssh = await sshOf(resident);
    await service.stop();
    await staysWith(context, resident, ssh, 'TargetUnreachable');
    context.expect(refusals(resident).at(-1)?.['detail']).toMatch(/closed the connection: .*Connection refused/);
    // The forwards are as good as ever.
    context.expect(await resident.status()).toMatchObject({ forwards: 1, forwardsUp: 1 });
    await serviceIn(context, listen);
    await connected(resident);
    context.expect((await sshOf(resident)).pid).toBe(ssh.pid);
    await noticesTheEnd(resident, () => relay.blackHole());
    await connected(resident);
  });

  for (const [what, serve, words] of [
    ['says other bytes', (guest: Socket) => guest.on('data', (bytes) => guest.write(bytes.map((b) => b ^ 1))), /other/],
    ['says nothing', (guest: Socket) => guest.resume(), /did not answer within/],
  ] as const)
    it(`Echo: a service that ${what} is no reason to end ssh`, async (context) => {
      await turn(context);
      const sshd = await sshdIn(context);
      const service = await serviceIn(context, { host: '127.0.0.1', port: 0 }, serve);
      const heartbeat = { periodSeconds: 1, timeoutSeconds: 4, method: 'Echo', echoPort: service.port };
      const resident = await residentIn(context, sshd, { ...debug, forwards: await anywhere(), heartbeat });
      await shows(resident, 'TargetUnreachable');
      await staysWith(context, resident, await sshOf(resident), 'TargetUnreachable');
      context.expect(refusals(resident).at(-1)?.['detail']).toMatch(words);
    });

  for (const kind of ['a port', 'a unix socket'] as const)
    it(`Forward to ${kind}: a target that dies and comes back, and a path that is cut`, async (context) => {
      await turn(context);
      const { relay, sshd } = await behindRelay(context, await sshdIn(context));
      const [target, listen] =
        kind === 'a port'
          ? await freePort().then(
              (port) =>
                [
                  { host: '127.0.0.1', port },
                  { host: '127.0.0.1', port },
                ] as const,
            )
          : ([{ path: join(sshd.dir, 'target') }, { path: join(sshd.dir, 'target') }] as const);
      const service = await serviceIn(context, listen);
      const port = await freePort();
      const heartbeat = { ...BEAT, method: 'Forward', forward: 'app' };
      const resident = await residentIn(context, sshd, { ...debug, forwards: to(target, { port }), heartbeat });
      context.expect((await connected(resident)).heartbeatMethod).toBe('Forward');
      const ssh = await sshOf(resident);
      await service.stop();
      await staysWith(context, resident, ssh, 'TargetUnreachable');
      context.expect(refusals(resident).at(-1)?.['detail']).toMatch(/cannot be reached: connect failed: /);
      context.expect(await resident.status()).toMatchObject({ forwards: 1, forwardsUp: 0 });
      await serviceIn(context, listen);
      await connected(resident);
      context.expect((await sshOf(resident)).pid).toBe(ssh.pid);
      context.expect(await comesBack({ host: '127.0.0.1', port })).toBe(true);
      await noticesTheEnd(resident, () => relay.blackHole());
      await connected(resident);
      await noticesTheEnd(resident, async () => signal(await sshOf(resident), 'SIGSTOP'));
      await connected(resident);
    });

  it('Forward: a target that does not answer, as behind a firewall, is no connection', async (context) => {
    await turn(context);
    const sshd = await sshdIn(context);
    const mute = await startMutePort();
    context.onTestFinished(() => mute.stop());
    const forwards = to({ host: '127.0.0.1', port: mute.port }, { port: await freePort() });
    const heartbeat = { periodSeconds: 1, timeoutSeconds: 4, method: 'Forward', forward: 'app' };
    const resident = await residentIn(context, sshd, { ...debug, forwards, heartbeat });
    await shows(resident, 'TargetUnreachable');
    await staysWith(context, resident, await sshOf(resident), 'TargetUnreachable');
    context.expect(refusals(resident).at(-1)?.['detail']).toMatch(/no answer within 4000 ms/);
  });

  it('Ping: on a server that forbids everything', async (context) => {
    await turn(context);
    const { relay, sshd } = await behindRelay(context, await sshdIn(context, { config: ['DisableForwarding yes'] }));
    const heartbeat = { ...BEAT, method: 'Ping' };
    const resident = await residentIn(context, sshd, { forwards: await anywhere(), heartbeat });
    context.expect((await connected(resident)).heartbeatMethod).toBe('Ping');
    await noticesTheEnd(resident, () => relay.blackHole());
    await connected(resident);
  });

  it('None: connected once logged in; only ssh’s keepalives notice a cut, and no beat is claimed', async (context) => {
    await turn(context);
    const { relay, sshd } = await behindRelay(context, await sshdIn(context));
    const resident = await residentIn(context, sshd, {
      ssh: { options: { serverAliveIntervalSeconds: 3, serverAliveCountMax: 2 } },
      forwards: await anywhere(),
      heartbeat: { periodSeconds: 1, method: 'None', livenessDeadlineSeconds: 1 },
    });
    context.expect(await connected(resident)).toMatchObject({ heartbeatMethod: 'None', lastHeartbeat: null });
    context
      .expect((await resident.get('/metrics')).body)
      .toContain('autossh_heartbeat_rtt_seconds_count{tunnel="orders-db"} 0');
    context.expect(await resident.get('/livez')).toMatchObject({ status: 200 });
    await noticesTheEnd(resident, () => relay.blackHole());
    await connected(resident);
    context
      .expect((await resident.get('/metrics')).body)
      .toMatch(/autossh_disconnects_total\{tunnel="orders-db",reason="KeepAliveTimeout"\} [1-9]/);
  });

  it('another method, and other times, are in force at once, and nobody is dropped', async (context) => {
    await turn(context);
    const { expect } = context;
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const port = await freePort();
    const forwards = to({ host: '127.0.0.1', port: service.port }, { port });
    const slow = { periodSeconds: 3600, timeoutSeconds: 6 };
    const resident = await residentIn(context, sshd, { forwards, heartbeat: slow });
    await connected(resident);
    const ssh = await sshOf(resident);
    const guest = connect({ host: '127.0.0.1', port });
    context.onTestFinished(() => void guest.destroy());
    let came = 0;
    guest.on('error', () => {}).on('data', (bytes) => (came += bytes.length));
    const speaks = async () => {
      const from = came;
      guest.write('still here');
      await until('an answer on the old connection', () => came > from);
    };
    await speaks();
    for (const [method, more] of [
      ['Ping', {}],
      ['Echo', { echoPort: service.port }],
      ['Forward', { forward: 'app' }],
      ['None', {}],
      ['Loop', {}],
      ['Auto', {}],
    ] as const) {
      const { lastHeartbeat } = await resident.status();
      resident.configure({ forwards, heartbeat: { ...slow, method, ...more } });
      const inForce = method === 'Auto' ? 'Loop' : method;
      await resident.shows(
        `a beat by ${method}`,
        (now) =>
          now.connected &&
          now.heartbeatMethod === inForce &&
          (method === 'None' || now.lastHeartbeat !== lastHeartbeat),
      );
      await speaks();
    }
    // An hour's period, and then a second's.
    const { lastHeartbeat } = await resident.status();
    resident.configure({ forwards, heartbeat: { periodSeconds: 1 } });
    await resident.shows('a beat', (now) => now.lastHeartbeat !== lastHeartbeat);
    const then = (await resident.status()).lastHeartbeat;
    await resident.shows('another beat', (now) => now.lastHeartbeat !== then);
    await speaks();
    expect(await resident.status()).toMatchObject({ connected: true, sshStarts: 1, disconnects: 0 });
    expect((await sshOf(resident)).pid).toBe(ssh.pid);
    // No method left anything behind on the connection but the one in force.
    const [dir = ''] = readdirSync(resident.root).filter((name) => /^autossh-(?!login-)/.test(name));
    const sockets = readdirSync(join(resident.root, dir)).filter((name) => name !== 'ctl');
    expect(sockets.map((name) => name.replace(/-\d+$/, '')).sort()).toEqual(['echo', 'out']);
  });

  it('another method while ssh stands still: noticed like any silence, and the next ssh has it', async (context) => {
    await turn(context);
    const { expect } = context;
    const forwards = await anywhere();
    const resident = await residentIn(context, await sshdIn(context), { forwards, heartbeat: BEAT });
    await connected(resident);
    await noticesTheEnd(resident, async () => {
      signal(await sshOf(resident), 'SIGSTOP');
      resident.configure({ forwards, heartbeat: { ...BEAT, method: 'Ping' } });
    });
    expect((await connected(resident)).heartbeatMethod).toBe('Ping');
  });

  it('AUTOSSH_FIRST_POLL: the second beat comes as soon as it says', async (context) => {
    await turn(context);
    const env = { AUTOSSH_POLL: '600', AUTOSSH_FIRST_POLL: '1' };
    const resident = await residentIn(context, await sshdIn(context), { forwards: await anywhere(), env });
    const { lastHeartbeat } = await connected(resident);
    await resident.shows('the second beat', (status) => status.lastHeartbeat !== lastHeartbeat);
  });

  it('another failureThreshold is in force for the living connection', async (context) => {
    await turn(context);
    const { expect } = context;
    const forwards = await anywhere();
    const heartbeat = { periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2 };
    const resident = await residentIn(context, await sshdIn(context), { ...debug, forwards, heartbeat });
    await connected(resident);
    resident.configure({ forwards, heartbeat: { ...heartbeat, failureThreshold: 100 } }, { generation: 2 });
    // From here on no machine is so slow that the threshold is reached by itself.
    const { sshStarts } = await resident.shows('it to be read', (now) => now.generation === 2 && now.connected);
    const ssh = await sshOf(resident);
    signal(ssh, 'SIGSTOP');
    await resident.logged(
      'five beats to fail',
      ({ msg, failedBeats }) => msg === 'heartbeat failed' && failedBeats === 5,
    );
    const { lastHeartbeat, ...still } = await resident.status();
    expect(still).toMatchObject({ sshStarts });
    signal(ssh, 'SIGCONT');
    await resident.shows('a beat', (status) => status.lastHeartbeat !== lastHeartbeat);
    expect(await resident.status()).toMatchObject({ connected: true, sshStarts });
  });
});
