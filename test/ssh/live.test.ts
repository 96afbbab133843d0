import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { RETRY_ANNOTATION } from '../../src/api/names.ts';
import { comesBack, flows, type Service, startService } from '../support/echo.ts';
import { kubeletVolume } from '../support/kubelet-volume.ts';
import { canBind, freePort } from '../support/port.ts';
import { signal } from '../support/processes.ts';
import { type Resident, startResident } from '../support/resident.ts';
import { makeKey, type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

type Forward = Record<string, unknown> & { name: string };
const local = (name: string, port: number, to: number): Forward => ({
  name,
  local: { listen: { port }, target: { host: '127.0.0.1', port: to } },
});
const remote = (name: string, port: number, to: number): Forward => ({
  name,
  remote: { listen: { port }, target: { host: '127.0.0.1', port: to } },
});
const dynamic = (name: string, port: number): Forward => ({ name, dynamic: { listen: { port } } });
/** Nothing here waits for this timeout: it is longer than a busy machine may stand still, since most tests count the ends of ssh. */
const HEARTBEAT = { periodSeconds: 1, timeoutSeconds: 15 };
const spec = (forwards: Forward[], more: Record<string, unknown> = {}) => ({
  forwards,
  heartbeat: HEARTBEAT,
  retry: { remotePortBusySeconds: 1 },
  ...more,
});
const at = (port: number) => ({ host: '127.0.0.1', port });

/** What changes on a tunnel that lives, and what does not: the sidecar's program on a real sshd. */
describe('a living tunnel', { timeout: 600_000 }, () => {
  const open: { stop(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.stop();
  });
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    open.push(one);
    return one;
  };
  const world = async (): Promise<{ sshd: Sshd; echo: Service }> => ({
    sshd: keep(await startSshd()),
    echo: keep(await startService()),
  });
  const ports = (count: number): Promise<number[]> => Promise.all(Array.from({ length: count }, () => freePort()));
  const tunnel = async (sshd: Sshd, forwards: Forward[], more?: Record<string, unknown>) =>
    keep(await startResident(sshd, spec(forwards, more)));
  const connected = (resident: Resident) => resident.shows('a connection', (status) => status.connected);
  const runs = (resident: Resident, generation: number) =>
    resident.shows(
      `generation ${generation} in place`,
      (status) => status.generation === generation && status.connected,
    );
  const places = async (resident: Resident) => {
    const { body } = await resident.get('/metrics');
    return Object.fromEntries(
      [...body.matchAll(/^autossh_forward_up\{.*forward="(.*?)"\} (\d)/gm)].map(([, name, up]) => [name, Number(up)]),
    );
  };
  const areUp = (resident: Resident, wanted: Record<string, number>) =>
    until(`forwards ${JSON.stringify(wanted)}`, async () => isDeepStrictEqual(await places(resident), wanted), {
      state: () => JSON.stringify(resident.log().slice(-20), null, 1),
    });
  const said = (resident: Resident, msg: string) => resident.log().filter((line) => line['msg'] === msg);
  /** At all addresses: sshd takes one half of `localhost` where the other is taken. */
  const occupy = async (port: number) => {
    const server = createServer().listen({ port });
    await once(server, 'listening');
    return keep({ stop: async () => void (server.listening && server.close()) });
  };
  /** An open connection that can be asked whether it still works. */
  const hold = async (port: number) => {
    const socket = connect(at(port));
    socket.on('error', () => {});
    await once(socket, 'connect');
    keep({ stop: async () => void socket.destroy() });
    return async () => {
      const text = randomBytes(16);
      socket.write(text);
      const [answer] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [null])]);
      return answer !== null && text.equals(answer as Buffer);
    };
  };

  it('gains and loses forwards of every kind while the connections through others, and through lost ones, go on', async () => {
    const { sshd, echo } = await world();
    const [a, b, c, r, d] = (await ports(5)) as [number, number, number, number, number];
    const path = join(sshd.dir, 'listen');
    const resident = await tunnel(sshd, [local('stays', a, echo.port), local('goes', b, echo.port)]);
    const { sshStarts } = await connected(resident);
    await flows(at(b));
    const [through, throughLost] = [await hold(a), await hold(b)];

    resident.configure(
      spec([
        remote('hooks', r, echo.port),
        local('renamed', a, echo.port),
        local('new', c, echo.port),
        { name: 'socket', local: { listen: { path }, target: { host: '127.0.0.1', port: echo.port } } },
        dynamic('proxy', d),
      ]),
      { generation: 8 },
    );
    await areUp(resident, { hooks: 1, renamed: 1, new: 1, socket: 1, proxy: 1 });
    for (const to of [at(a), at(c), at(r), { path }]) expect(await comesBack(to)).toBe(true);
    expect(await socks(d, echo.port)).toBe(true);
    expect(await canBind('127.0.0.1', b)).toBe(true);
    expect([await through(), await throughLost()]).toEqual([true, true]);

    // Back again, with other targets at the same listeners.
    const other = keep(await startService(undefined, (guest) => guest.end('other')));
    resident.configure(
      spec([local('renamed', a, echo.port), local('new', c, other.port), remote('hooks', r, other.port)]),
      {
        generation: 9,
      },
    );
    await areUp(resident, { renamed: 1, new: 1, hooks: 1 });
    await until('the other target', async () =>
      (await Promise.all([c, r].map(answerOf))).every((text) => text === 'other'),
    );
    await until('the socket to be gone', () => !existsSync(path));
    expect(await canBind('127.0.0.1', d)).toBe(true);
    expect([await through(), await throughLost()]).toEqual([true, true]);
    expect(await resident.status()).toMatchObject({ sshStarts, disconnects: 0 });
  });

  it('lets a download through an unchanged forward live through 100 reconfigurations', async () => {
    const { sshd, echo } = await world();
    const [a, r, ...others] = (await ports(8)) as [number, number, ...number[]];
    const sent = createHash('sha256');
    let stop = false;
    const source = keep(await startService(undefined, (guest) => pour(guest, sent, () => stop)));
    const always = local('download', a, source.port);
    const resident = await tunnel(sshd, [always]);
    const { sshStarts } = await connected(resident);
    const got = createHash('sha256');
    let bytes = 0;
    const download = connect(at(a));
    const ended = once(download, 'end');
    download.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      got.update(chunk);
    });
    const started = performance.now();
    for (let round = 1; round <= 100; round++) {
      const before = bytes;
      const some = others.filter((_, index) => (round + index) % 3 !== 0);
      const more = [
        ...some.map((port, index) => local(`l${index}`, port, echo.port)),
        ...(round % 2 ? [remote('r', r, echo.port)] : []),
        ...(round % 5 ? [] : [dynamic('d', others[0] ?? 0)]),
      ].filter(({ name }, _, all) => name !== 'l0' || !all.some((one) => one.name === 'd'));
      resident.configure(spec(round % 2 ? [...more, always] : [always, ...more]), { generation: 100 + round });
      await runs(resident, 100 + round);
      await areUp(resident, Object.fromEntries([always, ...more].map(({ name }) => [name, 1])));
      await until('the download to go on', () => bytes > before);
    }
    const seconds = (performance.now() - started) / 1000;
    stop = true;
    await ended;
    expect(got.digest('hex')).toBe(sent.digest('hex'));
    expect(source.connections()).toBe(1);
    expect(await resident.status()).toMatchObject({ sshStarts, disconnects: 0 });
    process.stdout.write(
      `100 reconfigurations in ${seconds.toFixed(1)} s beside a download of ${(bytes / 2 ** 20).toFixed(0)} MiB\n`,
    );
  });

  it('comes to the last of a hundred changes that come within seconds', async () => {
    const { sshd, echo } = await world();
    const all = await ports(6);
    const resident = await tunnel(sshd, [local('first', all[0] ?? 0, echo.port)]);
    const { sshStarts } = await connected(resident);
    for (let change = 1; change <= 100; change++) {
      const some = all.filter((_, index) => (change >> (index % 4)) % 2 === 0 || index === change % 6);
      resident.configure(spec(some.map((port) => local(`p${port}`, port, echo.port))), { generation: 100 + change });
      await new Promise((next) => setTimeout(next, 10));
    }
    const last = [all[1] ?? 0, all[4] ?? 0];
    resident.configure(spec(last.map((port) => local(`p${port}`, port, echo.port))), { generation: 300 });
    await runs(resident, 300);
    await until('the others to be gone', async () =>
      (await Promise.all(all.filter((port) => !last.includes(port)).map((port) => canBind('127.0.0.1', port)))).every(
        Boolean,
      ),
    );
    for (const port of last) await flows(at(port));
    await areUp(resident, Object.fromEntries(last.map((port) => [`p${port}`, 1])));
    expect(await resident.status()).toMatchObject({ sshStarts, disconnects: 0 });
  });

  it('does without a forward whose port is taken, there or here, until it is free; the others never notice', async () => {
    const { sshd, echo } = await world();
    const [good, here, there, alsoThere] = (await ports(4)) as [number, number, number, number];
    const taken = [await occupy(here), await occupy(there), await occupy(alsoThere)];
    const resident = await tunnel(sshd, [
      remote('there', there, echo.port),
      remote('also-there', alsoThere, echo.port),
      local('here', here, echo.port),
      local('good', good, echo.port),
    ]);
    await flows(at(good));
    const through = await hold(good);
    // The reason is there as soon as the second ssh has ended for it; what the third one has, only with its first beat.
    const is = await resident.shows(
      'heartbeats, and the refusal',
      ({ lastHeartbeat, reason }) => lastHeartbeat !== null && reason === 'RemoteForwardFailed',
    );
    // One start for the local ones, one for the remote ones, and the one that lives.
    expect(is).toMatchObject({ connected: false, sshStarts: 3, connectedSince: null });
    expect(await places(resident)).toEqual({ there: 0, 'also-there': 0, here: 0, good: 1 });
    expect((await resident.get('/metrics')).body).toContain('autossh_tunnel_up{tunnel="orders-db"} 1');
    for (const path of ['/readyz', '/startupz']) expect(await resident.get(path)).toMatchObject({ status: 503 });

    await taken[1]?.stop();
    await until('the remote one to be added', async () => (await places(resident))['there'] === 1);
    expect((await resident.status()).connected).toBe(false);
    await taken[0]?.stop();
    await taken[2]?.stop();
    await connected(resident);
    for (const path of ['/readyz', '/startupz']) expect(await resident.get(path)).toMatchObject({ status: 200 });
    for (const port of [here, there, alsoThere]) expect(await comesBack(at(port))).toBe(true);
    expect(await through()).toBe(true);
    expect((await resident.status()).sshStarts).toBe(3);

    // From now on it was there before: taken again while the server was away, it is busy and not forbidden.
    await sshd.kill();
    await until('the port to be free', () => canBind('127.0.0.1', there));
    const again = await occupy(there);
    await sshd.restart();
    await resident.shows('the busy port', ({ reason }) => reason === 'RemotePortBusy');
    await flows(at(good));
    await again.stop();
    await connected(resident);
  });

  it('lives with none of its forwards in place, and says why', async () => {
    const { sshd, echo } = await world();
    const [here, there] = (await ports(2)) as [number, number];
    const taken = [await occupy(here), await occupy(there)];
    const resident = await tunnel(sshd, [local('here', here, echo.port), remote('there', there, echo.port)]);
    await resident.shows('heartbeats', ({ lastHeartbeat, sshStarts }) => lastHeartbeat !== null && sshStarts === 3);
    expect(await resident.status()).toMatchObject({ connected: false, reason: 'LocalPortBusy' });
    expect(await places(resident)).toEqual({ here: 0, there: 0 });
    for (const one of taken) await one.stop();
    await connected(resident);
    expect((await resident.status()).sshStarts).toBe(3);
  });

  it('beats by a shorter period at once', async () => {
    const { sshd, echo } = await world();
    const forwards = [local('echo', await freePort(), echo.port)];
    const resident = await tunnel(sshd, forwards, { heartbeat: { ...HEARTBEAT, periodSeconds: 3600 } });
    const { lastHeartbeat } = await connected(resident);
    resident.configure(spec(forwards));
    const { sshStarts, disconnects } = await resident.shows('a beat', (now) => now.lastHeartbeat !== lastHeartbeat);
    expect({ sshStarts, disconnects }).toEqual({ sshStarts: 1, disconnects: 0 });
  });

  it('beats a second time after AUTOSSH_FIRST_POLL, on each connection', async () => {
    const { sshd, echo } = await world();
    const forwards = [local('echo', await freePort(), echo.port)];
    const env = { AUTOSSH_POLL: '15', AUTOSSH_FIRST_POLL: '1', AUTOSSH_LOGLEVEL: '7' };
    const resident = keep(await startResident(sshd, { forwards, env, heartbeat: { timeoutSeconds: 15 } }));
    const beats = () => resident.log().filter(({ msg }) => /^(connected: bytes go round|heartbeat$)/.test(String(msg)));
    const gap = (from: number) =>
      Date.parse(String(beats()[from + 1]?.['time'])) - Date.parse(String(beats()[from]?.['time']));
    await until('the second beat', () => beats()[1]);
    const [first] = said(resident, 'ssh started');
    expect(Date.parse(String(beats()[0]?.['time'])) - Date.parse(String(first?.['time']))).toBeLessThan(14_000);
    signal(await until('ssh', () => resident.ssh()), 'SIGKILL');
    await until('the second beat of the next connection', () => beats()[3], { deadlineMs: 60_000 });
    for (const from of [0, 2]) {
      expect(gap(from)).toBeGreaterThan(900);
      expect(gap(from)).toBeLessThan(14_000);
    }
    // The third by the period: FIRST_POLL is over.
    await until('the third beat', () => beats()[4], { deadlineMs: 90_000 });
    expect(gap(3)).toBeGreaterThan(14_000);
  });

  it('ends a silent ssh by the threshold that is in force now', async () => {
    const { sshd, echo } = await world();
    const forwards = [local('echo', await freePort(), echo.port)];
    const limit = (failureThreshold: number) => ({ heartbeat: { ...HEARTBEAT, timeoutSeconds: 1, failureThreshold } });
    const resident = await tunnel(sshd, forwards, limit(2));
    await connected(resident);
    resident.configure(spec(forwards, limit(60)), { generation: 8 });
    // From here on no machine is so slow that the threshold is reached by itself.
    const { sshStarts, disconnects } = await runs(resident, 8);
    const failed = () => said(resident, 'heartbeat failed').map(({ failedBeats }) => Number(failedBeats));
    const before = failed().length;
    sshd.pause('sessions');
    await until('three failed beats', () => failed().slice(before).includes(3), { deadlineMs: 60_000 });
    sshd.resume('sessions');
    await until('a good one', () => said(resident, 'heartbeat is back')[0]);
    expect(await resident.status()).toMatchObject({ connected: true, sshStarts, disconnects });
    // The other way too: the third in a row is one too many now.
    resident.configure(spec(forwards, limit(3)), { generation: 9 });
    const then = await runs(resident, 9);
    const from = failed().length;
    sshd.pause('sessions');
    await resident.shows('another ssh', (now) => now.sshStarts > then.sshStarts);
    sshd.resume('sessions');
    await until('the third failed beat', () => failed().slice(from).includes(3));
    expect(Math.max(...failed().slice(from))).toBe(3);
  });

  it('takes another login at its next connection, or at once where the old one is what it waits for', async () => {
    const { sshd, echo } = await world();
    const port = await freePort();
    const resident = await tunnel(sshd, [local('echo', port, echo.port)], { env: { AUTOSSH_LOGLEVEL: '7' } });
    await connected(resident);
    const next = join(sshd.dir, 'next_key');
    makeKey(next);
    const through = await hold(port);
    writeFileSync(sshd.authorizedKeys, readFileSync(`${next}.pub`));
    resident.put('identity/target/key', readFileSync(next, 'utf8'));
    await until('it to be seen', () => said(resident, 'keys or host keys changed: in force at the next connection')[0]);
    expect(await through()).toBe(true);
    signal(await until('ssh', () => resident.ssh()), 'SIGKILL');
    await resident.shows('the next connection', (now) => now.connected && now.sshStarts === 2);
    expect((await resident.get('/metrics')).body).toContain('reason="AuthFailed"} 0');

    writeFileSync(sshd.authorizedKeys, '');
    await sshd.kill('sessions');
    await until('a long pause', () => longPause(resident), { deadlineMs: 90_000 });
    const { pauseMs, time } = longPause(resident) as { pauseMs: number; time: string };
    writeFileSync(sshd.authorizedKeys, readFileSync(`${sshd.userKey}.pub`));
    resident.put('identity/target/key', readFileSync(sshd.userKey, 'utf8'));
    await connected(resident);
    const again = await resident.logged(
      'the next start',
      ({ msg, why }) => msg === 'starting again' && why === 'changed',
    );
    expect(Date.parse(String(again['time'])) - Date.parse(time)).toBeLessThan(pauseMs);
  });

  it('connects once more, without a pause, when what the connection is made of changes', async () => {
    const { sshd, echo } = await world();
    const forwards = [local('echo', await freePort(), echo.port)];
    const resident = await tunnel(sshd, forwards);
    await connected(resident);
    resident.configure(spec(forwards, { ssh: { options: { compression: true } } }), { generation: 8 });
    await resident.shows('the next connection', (now) => now.connected && now.sshStarts === 2);
    expect(await commandLine(resident)).toContain('Compression=yes');
    expect(await resident.status()).toMatchObject({ disconnects: 0, sshStarts: 2 });
  });

  it('loses no change that comes while it connects, waits, ends or is suspended', async () => {
    const { sshd, echo } = await world();
    const [a, b, c, d, e] = (await ports(5)) as [number, number, number, number, number];
    const to = (port: number) => [local(`p${port}`, port, echo.port)];
    // Connecting: the server accepts and says nothing.
    sshd.pause('listener');
    const patient = { ssh: { options: { connectTimeoutSeconds: 120 } } };
    const resident = await tunnel(sshd, to(a), patient);
    await until('ssh', () => resident.ssh());
    resident.configure(spec(to(b), patient), { generation: 8 });
    await resident.shows('it to be read', ({ generation }) => generation === 8);
    sshd.resume('listener');
    await runs(resident, 8);
    await flows(at(b));
    expect(await canBind('127.0.0.1', a)).toBe(true);
    expect((await resident.status()).sshStarts).toBe(1);

    // Waiting.
    await sshd.kill();
    await resident.shows('the refusal', ({ reason }) => reason === 'ConnectionRefused');
    resident.configure(spec(to(c)), { generation: 9 });
    await resident.shows('it to be read', ({ generation }) => generation === 9);
    await sshd.restart();
    await runs(resident, 9);
    await flows(at(c));

    // Ending: an ssh that does not hear its SIGTERM.
    signal(await until('ssh', () => resident.ssh()), 'SIGSTOP');
    resident.configure(spec(to(c), { ssh: { options: { serverAliveCountMax: 7 } } }), { generation: 10 });
    await until('the end of ssh to be asked for', () => said(resident, 'starting again').length > 0);
    resident.configure(spec(to(d), { ssh: { options: { serverAliveCountMax: 9 } } }), { generation: 11 });
    await runs(resident, 11);
    await flows(at(d));
    expect(await commandLine(resident)).toContain('ServerAliveCountMax=9');

    // Suspended.
    resident.configure(spec(to(d), { suspend: true }), { generation: 12 });
    await resident.shows('the suspension', ({ suspended }) => suspended);
    resident.configure(spec(to(e), { suspend: true }), { generation: 13 });
    await resident.shows('it to be read', ({ generation }) => generation === 13);
    resident.configure(spec(to(e)), { generation: 14 });
    await runs(resident, 14);
    await flows(at(e));
    expect(await places(resident)).toEqual({ [`p${e}`]: 1 });
  });

  it('follows a volume as the kubelet swaps it; what is gone, or half there, or nonsense leaves the old one in force', async () => {
    const { sshd, echo } = await world();
    const [a, b] = (await ports(2)) as [number, number];
    const resident = keep(await startResident(sshd, null, { env: { AUTOSSH_LOGLEVEL: '6' } }));
    const volume = kubeletVolume(join(resident.root, 'config'));
    const data = (port: number, generation: number, more = {}) =>
      resident.data(spec([local('echo', port, echo.port)], more), { generation });
    volume.publish(data(a, 1));
    await runs(resident, 1);
    // Nothing was known of the tunnel when the metrics were served first.
    const { body } = await resident.get('/metrics');
    expect(body).toMatch(/^autossh_tunnel_up\{tunnel="orders-db"\} 1$/m);
    expect(body).not.toContain('tunnel=""');
    const through = await hold(a);
    const debug = () => resident.log().filter(({ level }) => level === 'debug').length;

    volume.publish({ ...data(b, 2), AUTOSSH_LOGLEVEL: '7' });
    await runs(resident, 2);
    await flows(at(b));
    await until('debugging', () => debug() > 0);
    // Half a directory that nothing points at is none of ours; half a document is refused.
    volume.write({ AUTOSSH_TUNNEL: '{' });
    volume.publish({ AUTOSSH_TUNNEL: data(a, 3)['AUTOSSH_TUNNEL']?.slice(0, 400) ?? '' });
    await resident.shows('the refusal', ({ configAccepted }) => !configAccepted);
    expect(await resident.status()).toMatchObject({ generation: 2, connected: true });
    const refused = () => said(resident, 'new configuration refused; the old one stays');
    await until('the log to say so', () => refused()[0]);
    // The variable that was taken away is as if it had never been.
    volume.publish(data(b, 4));
    await runs(resident, 4);
    expect((await resident.status()).configAccepted).toBe(true);
    expect(refused()).toHaveLength(1);
    // What comes after this line is told by the level of the new configuration.
    await resident.logged('generation 4', ({ msg, generation }) => msg === 'new configuration' && generation === 4);
    const chatter = debug();
    const beats = async () => Number(/rtt_seconds_count\{.*\} (\d+)/.exec((await resident.get('/metrics')).body)?.[1]);
    const so = await beats();
    await until('two more beats', async () => (await beats()) > so + 2);
    expect(debug()).toBe(chatter);
    // The ConfigMap is deleted: an optional volume is empty then.
    volume.publish({});
    await resident.shows('the loss', ({ configAccepted }) => !configAccepted);
    expect(await resident.status()).toMatchObject({ generation: 4, connected: true, disconnects: 0, sshStarts: 1 });
    expect(await comesBack(at(b))).toBe(true);
    volume.publish(data(a, 5));
    await runs(resident, 5);
    await flows(at(a));
    expect(await through()).toBe(true);
  });

  it('goes on waiting where a supervisor that was killed had to wait, unless somebody asks or brings another key', async () => {
    const { sshd, echo } = await world();
    writeFileSync(sshd.authorizedKeys, '');
    // Failures that repeat are told one by one only for debugging.
    const patient = { ...spec([local('echo', await freePort(), echo.port)]), env: { AUTOSSH_LOGLEVEL: '7' } };
    const first = keep(await startResident(sshd, patient));
    await until('a long pause', () => longPause(first), { deadlineMs: 90_000 });
    const { pauseMs, time } = longPause(first) as { pauseMs: number; time: string };
    const due = Date.parse(time) + pauseMs;
    const root = await first.crash();

    const second = keep(await startResident(sshd, null, { root }));
    expect(await second.status()).toMatchObject({ connected: false, reason: 'AuthFailed', sshStarts: 0 });
    expect(await second.get('/readyz')).toMatchObject({ status: 503, body: 'AuthFailed\n' });
    const start = await until('its first ssh', () => said(second, 'ssh started')[0], { deadlineMs: 90_000 });
    // Times of the log are of whole milliseconds.
    expect(Date.parse(String(start['time']))).toBeGreaterThanOrEqual(due - 2);
    // Its pause is one of those that follow, not the first again.
    await until('its own pause', () => pauses(second)[0]);
    expect(pauses(second)[0]?.pauseMs).toBeGreaterThan(9_000);
    await second.crash();

    const third = keep(await startResident(sshd, null, { root }));
    expect((await third.status()).sshStarts).toBe(0);
    third.configure(patient, { annotations: { [RETRY_ANNOTATION]: 'now' } });
    await until('an attempt', () => said(third, 'ssh started')[0]);
    await until('its pause', () => pauses(third)[0]);
    await third.crash();
    third.put('identity/target/key', readFileSync(sshd.userKey, 'utf8'));
    writeFileSync(sshd.authorizedKeys, readFileSync(`${sshd.userKey}.pub`));
    const fourth = keep(await startResident(sshd, null, { root }));
    await connected(fourth);
    expect((await fourth.status()).sshStarts).toBe(1);
    expect(existsSync(join(root, 'backoff.json'))).toBe(false);
  });
});

type Pause = { pauseMs: number; time: string };
const pauses = (resident: Resident): Pause[] =>
  resident.log().filter(({ msg }) => String(msg).startsWith('ssh ended; next start in')) as unknown as Pause[];
/** The third pause of those for a refused key is of ten seconds at least. */
const longPause = (resident: Resident): Pause | undefined => pauses(resident).find(({ pauseMs }) => pauseMs >= 10_000);

const commandLine = async (resident: Resident): Promise<string> => {
  const { pid } = await until('ssh', () => resident.ssh());
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
};

/** Sends without end until told to stop, at 16 MiB/s at most: it shall flow beside the changes, not take the machine from them. */
const pour = (guest: Socket, sum: ReturnType<typeof createHash>, stop: () => boolean): void => {
  const more = () => {
    if (stop()) return void guest.end();
    const piece = randomBytes(65_536);
    sum.update(piece);
    if (guest.write(piece)) setTimeout(more, 4);
    else guest.once('drain', more);
  };
  more();
};

const answerOf = async (port: number): Promise<string> => {
  const socket = connect(at(port));
  let text = '';
  try {
    for await (const chunk of socket) text += String(chunk);
  } catch {
    // What a connection that is refused or cut short has to say is nothing.
  }
  return text;
};

/** Whether bytes come back from a port through a SOCKS5 proxy. */
const socks = async (proxy: number, port: number): Promise<boolean> => {
  const socket = connect(at(proxy));
  const ask = async (bytes: Buffer): Promise<Buffer> => {
    socket.write(bytes);
    return (await once(socket, 'data'))[0] as Buffer;
  };
  await ask(Buffer.from([5, 1, 0]));
  const [, status] = await ask(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]));
  const back = status === 0 && (await ask(Buffer.from('hello'))).toString() === 'hello';
  socket.destroy();
  return back;
};
