import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'vitest';
import { residentIn, serviceIn, sshdIn } from '../support/in-test.ts';
import { startMutePort } from '../support/mute.ts';
import { freePort } from '../support/port.ts';
import type { Resident } from '../support/resident.ts';
import { turnsOf } from '../support/turns.ts';
import { until } from '../support/until.ts';

/** Probes through the forwards of a real ssh: what they find is shown of that forward, and never ends the session. */
describe.concurrent('the probe of a forward', { timeout: 600_000 }, () => {
  const turn = turnsOf(6);
  /** Timeouts that are longer than a busy machine may stand still: what is found in time is what the tests are about. */
  const SOON = { periodSeconds: 1, timeoutSeconds: 15 };
  const heartbeat = { periodSeconds: 1, timeoutSeconds: 15 };

  /** Until the forward is so, by metric and by status. */
  const shows = (resident: Resident, name: string, isUp: boolean) =>
    until(
      `forward ${name} ${isUp ? 'up' : 'down'}`,
      async () => {
        const line = `autossh_forward_up{tunnel="orders-db",forward="${name}"} ${isUp ? 1 : 0}\n`;
        return (await resident.get('/metrics')).body.includes(line) && (await resident.status());
      },
      { deadlineMs: 60_000, everyMs: 50, state: () => JSON.stringify(resident.log(), null, 1) },
    );
  const outcomes = (resident: Resident, name: string) =>
    resident.log().filter((line) => /^probe /.test(String(line['msg'])) && line['forward'] === name);
  /** The next outcome of a probe that is logged: the first of its kind. */
  const outcome = (resident: Resident, name: string, from = 0) =>
    until('an outcome', () => outcomes(resident, name)[from], { deadlineMs: 60_000 });
  const httpIn = async ({ onTestFinished }: TestContext, serve: RequestListener): Promise<number> => {
    const server = createServer(serve);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  };
  const tunnel = (name: string, listen: object, target: object, probe: object) => ({
    name,
    local: { listen, target },
    probe,
  });

  for (const kind of ['a port', 'a unix socket'] as const)
    it(`tcp, to ${kind}: a target that dies and comes back; ssh stays`, async (context) => {
      const { expect } = context;
      await turn(context);
      const sshd = await sshdIn(context);
      const path = join(sshd.dir, 'target');
      const place = kind === 'a port' ? { host: '127.0.0.1', port: await freePort() } : { path };
      const service = await serviceIn(context, place);
      const other = await serviceIn(context);
      const forwards = [
        tunnel('db', { port: await freePort() }, place, { tcp: {}, ...SOON }),
        {
          name: 'rest',
          local: { listen: { port: await freePort() }, target: { host: '127.0.0.1', port: other.port } },
        },
      ];
      const resident = await residentIn(context, sshd, { forwards, heartbeat });
      const { sshStarts } = await resident.shows('a connection', (now) => now.connected);
      await outcome(resident, 'db');
      await shows(resident, 'db', true);
      const ssh = await until('ssh', () => resident.ssh());
      await service.stop();
      const down = await shows(resident, 'db', false);
      expect(down).toMatchObject({ connected: true, forwards: 2, forwardsUp: 1 });
      expect(await outcome(resident, 'db', 1)).toMatchObject({
        ...{ level: 'warn', reason: 'TargetUnreachable' },
        detail: expect.stringMatching(/cannot be reached: connect failed|closed at once/),
      });
      // Not a line of it is in the log at level info: what the probe found is said once, in its own words.
      const probed = async (times: number) => {
        const count = async () => {
          const { body } = await resident.get('/metrics');
          return Number(/autossh_heartbeat_rtt_seconds_count\{.*\} (\d+)/.exec(body)?.[1]);
        };
        const from = await count();
        await until('some seconds of beats', async () => (await count()) >= from + times, { deadlineMs: 90_000 });
      };
      await probed(4);
      expect(resident.log().filter(({ msg, line }) => msg === 'ssh' && /open failed/.test(String(line)))).toEqual([]);
      await shows(resident, 'rest', true);
      await serviceIn(context, place);
      expect(await shows(resident, 'db', true)).toMatchObject({ connected: true, forwardsUp: 2, sshStarts });
      expect((await until('ssh', () => resident.ssh())).pid).toBe(ssh.pid);
    });

  const LISTENERS: readonly (readonly [string, (dir: string) => Promise<object>])[] = [
    ['a unix socket', async (dir: string) => ({ path: join(dir, 'listener') })],
    ['all addresses', async () => ({ host: '0.0.0.0', port: await freePort() })],
    ['all addresses, by star', async () => ({ host: '*', port: await freePort() })],
    ['all addresses of IPv6', async () => ({ host: '::', port: await freePort('::1') })],
    ['the loopback of IPv6', async () => ({ host: '::1', port: await freePort('::1') })],
    ['the loopback by name', async () => ({ host: 'localhost', port: await freePort() })],
  ];
  for (const [what, listen] of LISTENERS)
    it(`tcp and http, by a listener on ${what}`, async (context) => {
      await turn(context);
      const sshd = await sshdIn(context);
      const port = await httpIn(context, (_request, response) => response.writeHead(204).end());
      const target = { host: '127.0.0.1', port };
      const second = what === 'a unix socket' ? { path: join(sshd.dir, 'second') } : await listen(sshd.dir);
      const resident = await residentIn(context, sshd, {
        forwards: [
          tunnel('tcp', await listen(sshd.dir), target, { tcp: {}, ...SOON }),
          tunnel('http', second, target, { http: {}, ...SOON }),
        ],
        heartbeat,
      });
      for (const name of ['tcp', 'http'])
        context.expect(await outcome(resident, name)).toMatchObject({ msg: 'probe answered' });
      await resident.shows('both up', (now) => now.forwardsUp === 2);
    });

  it('tcp: a target behind a firewall that drops is not up, although ssh accepts', async (context) => {
    await turn(context);
    const sshd = await sshdIn(context);
    const mute = await startMutePort();
    context.onTestFinished(() => mute.stop());
    const target = { host: '127.0.0.1', port: mute.port };
    const probe = { tcp: {}, periodSeconds: 1, timeoutSeconds: 4 };
    const forwards = [tunnel('db', { port: await freePort() }, target, probe)];
    const resident = await residentIn(context, sshd, { forwards, heartbeat });
    context.expect(await outcome(resident, 'db')).toMatchObject({ reason: 'TargetUnreachable' });
    context.expect(await shows(resident, 'db', false)).toMatchObject({ connected: true, forwardsUp: 0 });
  });

  it('tcp: a server that forbids the target says so', async (context) => {
    await turn(context);
    const sshd = await sshdIn(context, { config: ['PermitOpen 10.0.0.1:5432'] });
    const service = await serviceIn(context);
    const target = { host: '127.0.0.1', port: service.port };
    const forwards = [tunnel('db', { port: await freePort() }, target, { tcp: {}, ...SOON })];
    const resident = await residentIn(context, sshd, { forwards, heartbeat });
    context.expect(await outcome(resident, 'db')).toMatchObject({
      detail: context.expect.stringContaining('administratively prohibited'),
    });
    context.expect(await resident.shows('a connection', (now) => now.connected)).toMatchObject({ forwardsUp: 0 });
    context.expect(service.connections()).toBe(0);
  });

  it('http: path, Host header and status; a target that dies and comes back', async (context) => {
    const { expect } = context;
    await turn(context);
    const sshd = await sshdIn(context);
    const asked: string[] = [];
    let status = 200;
    const port = await httpIn(context, (request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.host}`);
      response.writeHead(status, { location: '/elsewhere' }).end();
    });
    const target = { host: '127.0.0.1', port };
    const teapot = { http: { path: '/own?x=1', host: 'app.example.com', expectedStatuses: [418, 503] }, ...SOON };
    const resident = await residentIn(context, sshd, {
      forwards: [
        tunnel('plain', { port: await freePort() }, target, { http: {}, ...SOON }),
        tunnel('teapot', { port: await freePort() }, target, teapot),
      ],
      heartbeat,
    });
    await shows(resident, 'teapot', false);
    expect(await outcome(resident, 'teapot')).toMatchObject({
      reason: 'ProbeFailed',
      detail: expect.stringContaining('expected a status of 418, 503, got 200'),
    });
    await shows(resident, 'plain', true);
    const { sshStarts } = await resident.status();
    expect(asked).toContain('GET /own?x=1 app.example.com');
    // A forward counts as up before its first probe, too.
    await until('a probe of the other', () => asked.includes(`GET / 127.0.0.1:${port}`), { state: () => asked.join() });
    status = 503;
    await shows(resident, 'plain', false);
    await shows(resident, 'teapot', true);
    status = 302;
    await shows(resident, 'plain', true);
    expect(asked.every((one) => !one.includes('elsewhere'))).toBe(true);
    expect(await resident.status()).toMatchObject({ connected: true, sshStarts });
  });

  for (const [what, serve, words] of [
    ['never answers', (guest: Socket) => guest.resume(), /no answer within 1000 ms/],
    ['closes', (guest: Socket) => guest.destroy(), /./],
    ['sends headers without end', (guest: Socket) => floods(guest, 'HTTP/1.1 200 OK\r\n', 'x: y\r\n'), /./],
    ['announces without end', (guest: Socket) => floods(guest, '', 'HTTP/1.1 103 Early Hints\r\n\r\n'), /./],
    ['drips', (guest: Socket) => drips(guest), /no answer within 1000 ms/],
    ['does not speak HTTP', (guest: Socket) => guest.end('SSH-2.0-OpenSSH_9.2\r\n'), /./],
  ] as const)
    it(`http: a target that ${what} is down within the timeout, and one at a time is asked`, async (context) => {
      const { expect } = context;
      await turn(context);
      const sshd = await sshdIn(context);
      let now = 0;
      let most = 0;
      const service = await serviceIn(context, { host: '127.0.0.1', port: 0 }, (guest) => {
        now++;
        most = Math.max(most, now);
        guest.on('close', () => now--);
        guest.on('end', () => guest.destroy()).resume();
        serve(guest);
      });
      const target = { host: '127.0.0.1', port: service.port };
      const probe = { http: {}, periodSeconds: 1, timeoutSeconds: 1 };
      const resident = await residentIn(context, sshd, {
        forwards: [tunnel('web', { port: await freePort() }, target, probe)],
        heartbeat,
      });
      expect(await outcome(resident, 'web')).toMatchObject({ detail: expect.stringMatching(words) });
      await until('six probes', () => service.connections() >= 6, { deadlineMs: 60_000 });
      // One that is over may still be on its way out when the next comes in.
      expect(most).toBeLessThanOrEqual(3);
      expect(await shows(resident, 'web', false)).toMatchObject({ connected: true });
    });

  it('http: a body without end is not read, and the status counts', async (context) => {
    await turn(context);
    const sshd = await sshdIn(context);
    let sent = 0;
    const port = await httpIn(context, (_request, response) => {
      response.writeHead(200);
      const chunk = Buffer.alloc(65_536);
      const more = () => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      };
      response.on('drain', more);
      more();
    });
    const forwards = [tunnel('web', { port: await freePort() }, { host: '127.0.0.1', port }, { http: {}, ...SOON })];
    const resident = await residentIn(context, sshd, { forwards, heartbeat });
    context.expect(await outcome(resident, 'web')).toMatchObject({ msg: 'probe answered' });
    await shows(resident, 'web', true);
    // What ssh and the kernel hold of it, not the body.
    context.expect(sent).toBeLessThan(200e6);
  });

  it('is not asked without a connection, and a changed probe takes effect without a reconnect', async (context) => {
    const { expect } = context;
    await turn(context);
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const [port, target] = [await freePort(), { host: '127.0.0.1', port: service.port }];
    const probed = [tunnel('db', { port }, target, { tcp: {}, ...SOON })];
    const resident = await residentIn(context, sshd, { forwards: probed, heartbeat });
    await outcome(resident, 'db');
    const { sshStarts } = await shows(resident, 'db', true);
    // An echo service speaks no HTTP.
    resident.configure({ forwards: [tunnel('db', { port }, target, { http: {}, ...SOON })], heartbeat });
    await shows(resident, 'db', false);
    resident.configure({ forwards: [{ name: 'db', local: { listen: { port }, target } }], heartbeat });
    expect(await shows(resident, 'db', true)).toMatchObject({ connected: true, sshStarts });
    resident.configure({ forwards: probed, heartbeat, suspend: true });
    await resident.shows('the suspension', ({ suspended }) => suspended);
    await shows(resident, 'db', false);
    const asked = service.connections();
    resident.configure({ forwards: probed, heartbeat });
    await resident.shows('a connection', (now) => now.connected);
    await until('another probe', () => service.connections() > asked, { deadlineMs: 60_000 });
  });
});

/** As much as the connection takes. */
const floods = (guest: Socket, first: string, then: string): void => {
  const chunk = then.repeat(1000);
  guest.write(first);
  const more = () => {
    while (!guest.destroyed && guest.write(chunk));
  };
  guest.on('drain', more);
  guest.once('data', more);
};

const drips = (guest: Socket): void => {
  guest.resume();
  guest.write('HTTP/1.1 200 OK\r\n');
  const timer = setInterval(() => guest.write('x'), 100);
  guest.on('close', () => clearInterval(timer));
};
