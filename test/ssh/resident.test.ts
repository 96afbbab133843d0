import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { FullStatus } from '../../src/supervisor/full-status.ts';
import { flows, type Service, startService } from '../support/echo.ts';
import { itWith } from '../support/needs.ts';
import { freePort } from '../support/port.ts';
import { signal } from '../support/processes.ts';
import { metricsProblems, promtoolMissing } from '../support/promtool.ts';
import { type Line, type Resident, startResident } from '../support/resident.ts';
import { makeKey, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

const promtooled = itWith(promtoolMissing);

/** The sidecar's program on a real sshd, configured by files as in its container. */
describe('the resident supervisor', () => {
  const open: { stop(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.stop();
  });
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    open.push(one);
    return one;
  };
  /** A timeout that is longer than a busy machine may stand still, since most tests count the ends of ssh. */
  const forward = (port: number, service: Service) => ({
    forwards: [{ name: 'echo', local: { listen: { port }, target: { host: '127.0.0.1', port: service.port } } }],
    heartbeat: { periodSeconds: 1, timeoutSeconds: 15 },
  });
  const world = async () => {
    const sshd = keep(await startSshd());
    const service = keep(await startService());
    const port = await freePort();
    return { sshd, service, port, spec: forward(port, service) };
  };
  const connected = (resident: Resident) => resident.shows('a connection', (status) => status.connected);
  const through = (port: number) => flows({ host: '127.0.0.1', port });

  it('connects, and says so everywhere', async () => {
    const { sshd, port, spec } = await world();
    const resident = keep(await startResident(sshd, spec));
    expect(await connected(resident)).toMatchObject({
      tunnel: 'orders-db',
      generation: 7,
      heartbeatMethod: 'Loop',
      reason: null,
    });
    await through(port);
    for (const path of ['/startupz', '/livez', '/readyz'])
      expect(await resident.get(path)).toMatchObject({ status: 200 });
    const { body } = await resident.get('/metrics');
    expect(body).toContain('autossh_tunnel_up{tunnel="orders-db"} 1');
    expect(body).toContain('autossh_forward_up{tunnel="orders-db",forward="echo"} 1');
    expect(body).toMatch(/autossh_heartbeat_rtt_seconds_count\{tunnel="orders-db"\} [1-9]/);
    expect(await resident.get('/nothing')).toMatchObject({ status: 404 });
  });

  it('heals when ssh is killed or frozen, and counts why', async () => {
    const { sshd, port, spec } = await world();
    const heartbeat = { ...spec.heartbeat, timeoutSeconds: 5 };
    const resident = keep(await startResident(sshd, { ...spec, heartbeat }));
    for (const name of ['SIGKILL', 'SIGSTOP'] as const) {
      await connected(resident);
      const { sshStarts } = await resident.status();
      const ssh = await until('ssh', () => resident.ssh());
      signal(ssh, name);
      await resident.shows('another ssh', (status) => status.connected && status.sshStarts > sshStarts);
      await through(port);
    }
    const { body } = await resident.get('/metrics');
    expect(body).toContain('autossh_disconnects_total{tunnel="orders-db",reason="Killed"} 1');
    expect(body).toContain('autossh_disconnects_total{tunnel="orders-db",reason="HeartbeatLost"} 1');
  });

  it('waits for its key and says that it is missing; it is alive, but neither started nor ready', async () => {
    const { sshd, spec } = await world();
    const resident = keep(await startResident(sshd, null));
    const methods = async () => (await resident.get('/metrics')).body.match(/^autossh_heartbeat_method\{.*$/gm);
    const starts = async () =>
      /^autossh_ssh_starts_total\{.*\} (\d+)$/m.exec((await resident.get('/metrics')).body)?.[1];
    const ofThePage = async () => JSON.parse(await (await fetch(`${resident.page}status`)).text());
    expect(await resident.get('/livez')).toMatchObject({ status: 200 });
    expect(await resident.status()).toMatchObject({ heartbeatMethod: null });
    resident.put('identity/target/key', null);
    resident.configure(spec);
    await resident.shows('IdentityMissing', ({ reason }) => reason === 'IdentityMissing');
    // Neither a start nor a heartbeat is claimed where there was no ssh, however often one was tried.
    const tried = await resident.shows('another try', ({ disconnects }) => disconnects > 1);
    expect(tried).toMatchObject({ sshStarts: 0, heartbeatMethod: null });
    expect(await ofThePage()).toMatchObject({ heartbeat: { method: null, wanted: 'Auto' }, sshStarts: 0 });
    expect([await starts(), await methods()]).toEqual(['0', null]);
    expect(await resident.get('/startupz')).toMatchObject({ status: 503 });
    expect(await resident.get('/readyz')).toMatchObject({ status: 503, body: 'IdentityMissing\n' });
    expect(await resident.get('/livez')).toMatchObject({ status: 200 });
    resident.put('identity/target/key', readFileSync(sshd.userKey, 'utf8'));
    expect(await connected(resident)).toMatchObject({ sshStarts: 1, heartbeatMethod: 'Loop' });
    expect(await starts()).toBe('1');
    expect(await methods()).toEqual([expect.stringMatching(/method="Loop"\} 1$/)]);
    const isStart = ({ msg }: Line) => msg === 'ssh started';
    await resident.logged('its start', isStart);
    expect(resident.log().filter(isStart)).toMatchObject([{ starts: 1 }]);
  });

  it('counts the time for which it is connected, also that in which it could not look', async () => {
    const { sshd, spec } = await world();
    const resident = keep(
      await startResident(sshd, { ...spec, heartbeat: { ...spec.heartbeat, failureThreshold: 5 } }),
    );
    await connected(resident);
    const counted = async () =>
      Number(/^autossh_connected_seconds_total\{.*\} (\S+)$/m.exec((await resident.get('/metrics')).body)?.[1]);
    const [from, started] = [await counted(), performance.now()];
    const lag = async () => (performance.now() - started) / 1000 - ((await counted()) - from);
    resident.child.kill('SIGSTOP');
    await new Promise((next) => setTimeout(next, 6_000));
    resident.child.kill('SIGCONT');
    await until('all of the time to be counted', async () => (await lag()) < 2.5);
  });

  it('takes a connection that is lost before its heartbeat is set up for one that was logged in', async () => {
    const { sshd, spec } = await world();
    // An ssh whose client of the control socket never ends: the way of the beats is not added.
    const called = join(sshd.dir, 'called');
    const bin = join(sshd.dir, 'bin');
    mkdirSync(bin);
    const script = `case "$*" in *"-O forward"*) : > ${called}; exec sleep 600 ;; esac`;
    writeFileSync(join(bin, 'ssh'), `#!/bin/sh\n${script}\nPATH=\${PATH#*:}\nexec ssh "$@"\n`, { mode: 0o755 });
    const env = { PATH: `${bin}:${process.env['PATH']}` };
    const resident = keep(await startResident(sshd, spec, { env }));
    await until('the heartbeat to be set up', () => existsSync(called));
    await sshd.kill('sessions');
    const { reason } = await resident.shows('the loss', ({ disconnects }) => disconnects > 0);
    expect(reason).toBe('RemoteClosed');
    // It is not taken for a server that turns clients away, which has to be left in peace for minutes.
    const ended = await resident.logged('the end', ({ msg }) => /^ssh ended/.test(String(msg)));
    expect(ended['pauseMs']).toBeLessThanOrEqual(5_000);
    await resident.shows('the next ssh', ({ sshStarts }) => sshStarts > 1);
  });

  it('refuses a host key that is not the known one, with its reason', async () => {
    const { sshd, spec } = await world();
    const resident = keep(await startResident(sshd, spec));
    await connected(resident);
    await sshd.restart({ newHostKey: true });
    await resident.shows('HostKeyChanged', ({ reason }) => reason === 'HostKeyChanged');
    expect((await resident.status()).connected).toBe(false);
  });

  it('takes a new configuration without a restart, keeps the old one where the new one is nonsense', async () => {
    const { sshd, service, spec } = await world();
    const resident = keep(await startResident(sshd, spec));
    await connected(resident);
    const other = await freePort();
    resident.configure(forward(other, service));
    await through(other);
    resident.put('config/AUTOSSH_TUNNEL', '{"version": 1}');
    await resident.shows('the refusal', ({ configAccepted }) => !configAccepted);
    await through(other);
    expect((await resident.status()).connected).toBe(true);
  });

  promtooled('has metrics that promtool is content with, and that tell idle, down and suspended apart', async () => {
    const { sshd, spec } = await world();
    const resident = keep(await startResident(sshd, { ...spec, retry: { networkMaxSeconds: 60 } }));
    const scraped = async () => {
      const { body } = await resident.get('/metrics');
      expect(metricsProblems(body)).toBe('');
      const value = (name: string) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)`, 'm').exec(body)?.[1]);
      return {
        up: value('autossh_tunnel_up'),
        forward: value('autossh_forward_up'),
        suspended: value('autossh_suspended'),
        lastBeat: value('autossh_last_heartbeat_timestamp_seconds'),
        beats: value('autossh_heartbeat_rtt_seconds_count'),
      };
    };
    await connected(resident);
    // Idle: nobody uses the forward, and still it is known to work, anew with each beat.
    const idle = await scraped();
    expect(idle).toMatchObject({ up: 1, forward: 1, suspended: 0 });
    const later = await until('another beat', async () => {
      const now = await scraped();
      return now.beats > idle.beats && now;
    });
    expect(later).toMatchObject({ up: 1 });
    expect(later.lastBeat).toBeGreaterThan(idle.lastBeat);
    await sshd.kill();
    await resident.shows('the failure', ({ reason }) => reason === 'ConnectionRefused');
    const down = await scraped();
    expect(down).toMatchObject({ up: 0, forward: 0, suspended: 0 });
    expect(down.lastBeat).toBeGreaterThan(0);
    expect((await scraped()).lastBeat).toBe(down.lastBeat);
    resident.configure({ ...spec, suspend: true });
    await resident.shows('the suspension', ({ suspended }) => suspended);
    expect(await scraped()).toMatchObject({ up: 0, forward: 0, suspended: 1 });
  });

  it('logs a failure that repeats once, and the recovery with how long it took', async () => {
    const { sshd, spec } = await world();
    const resident = keep(await startResident(sshd, { ...spec, retry: { networkMaxSeconds: 1 } }));
    await connected(resident);
    const { sshStarts } = await resident.status();
    // One after the other: nobody is there any more when ssh comes again.
    await sshd.kill('listener');
    await sshd.kill('sessions');
    await resident.shows('many attempts', (status) => status.sshStarts >= sshStarts + 6);
    await sshd.restart();
    await connected(resident);
    const told = (words: RegExp) => resident.log().filter(({ msg }) => words.test(String(msg)));
    const [recovery] = await until('the recovery', () => told(/^connected: bytes go round again/));
    expect(told(/^ssh ended/).map(({ reason }) => reason)).toEqual(['RemoteClosed', 'ConnectionRefused']);
    expect(told(/^ssh ended/)[1]?.['ssh']).toMatch(/Connection refused/);
    expect(told(/^ssh started/)).toHaveLength(1);
    expect(told(/^ssh$/).filter(({ line }) => /refused/.test(String(line)))).toEqual([]);
    expect(recovery).toMatchObject({ level: 'info', attempts: expect.any(Number), downMs: expect.any(Number) });
    expect(recovery?.['attempts']).toBeGreaterThanOrEqual(6);
  });

  it('replaces a connection that has lived for AUTOSSH_MAXLIFETIME, and bytes go on', async () => {
    const { sshd, port, spec } = await world();
    const resident = keep(await startResident(sshd, { ...spec, env: { AUTOSSH_MAXLIFETIME: '3' } }));
    await connected(resident);
    const first = await until('ssh', () => resident.ssh());
    await resident.shows('the third connection', ({ connected, sshStarts }) => connected && sshStarts > 2);
    expect((await until('ssh', () => resident.ssh())).pid).not.toBe(first.pid);
    await through(port);
    await resident.logged('the third start', ({ msg, starts }) => msg === 'ssh started' && starts === 3);
    const again = resident.log().filter(({ msg }) => msg === 'starting again');
    expect(new Set(again.map(({ why }) => why))).toEqual(new Set(['lifetime']));
    const [started, next] = resident.log().filter(({ msg }) => msg === 'ssh started');
    expect(Date.parse(String(next?.['time'])) - Date.parse(String(started?.['time']))).toBeGreaterThan(2_900);
    // It is no failure, and nobody is told of one.
    expect(await resident.status()).toMatchObject({ disconnects: 0, reason: null });
  });

  it('is alive without heartbeats for livenessDeadlineSeconds and no longer', async () => {
    const { sshd, spec } = await world();
    const heartbeat = { ...spec.heartbeat, livenessDeadlineSeconds: 10 };
    const resident = keep(await startResident(sshd, { ...spec, heartbeat }));
    await connected(resident);
    const alive = async () => (await resident.get('/livez')).status === 200;
    expect(await alive()).toBe(true);
    await sshd.kill();
    await resident.shows('the failure', ({ reason }) => reason === 'ConnectionRefused');
    await until('the deadline', async () => !(await alive()));
    const { lastHeartbeat } = await resident.status();
    expect(Date.now() - Date.parse(String(lastHeartbeat))).toBeGreaterThan(10_000);
    expect((await resident.get('/livez')).body).toBe('no heartbeat for 10 s\n');
    await sshd.restart();
    await connected(resident);
    expect(await alive()).toBe(true);
  });

  it('says of a tunnel that trusts every host key that it does', async () => {
    const { sshd, spec } = await world();
    const ssh = { knownHosts: { insecureSkipVerify: true } };
    const resident = keep(
      await startResident(sshd, { ...spec, ssh }, { files: { 'known-hosts/target/known_hosts': null } }),
    );
    const insecure = async () =>
      /^autossh_insecure_host_key\{.*\} (\d)$/m.exec((await resident.get('/metrics')).body)?.[1];
    await connected(resident);
    expect(await insecure()).toBe('1');
    resident.put('known-hosts/target/known_hosts', readFileSync(sshd.knownHosts, 'utf8'));
    resident.configure(spec);
    await resident.shows('the next connection', (status) => status.connected && status.sshStarts >= 2);
    expect(await insecure()).toBe('0');
  });

  it('knows a server by the authority that certified its host key, and no other', async () => {
    const { sshd, spec } = await world();
    const [ca, other] = [join(sshd.dir, 'ca'), join(sshd.dir, 'other_ca')] as const;
    for (const key of [ca, other]) makeKey(key);
    const certify = ['-q', '-s', ca, '-I', 'host', '-h', '-n', sshd.host, `${sshd.hostKey}.pub`];
    execFileSync('ssh-keygen', certify);
    await sshd.restart({ config: [`HostCertificate ${sshd.hostKey}-cert.pub`] });
    const trusted = (key: string) =>
      `@cert-authority [${sshd.host}]:${sshd.port} ${readFileSync(`${key}.pub`, 'utf8')}`;
    const files = { 'known-hosts/target/known_hosts': trusted(other) };
    const resident = keep(await startResident(sshd, spec, { files }));
    await resident.shows('the refusal', ({ reason }) => reason === 'HostKeyUnknown');
    expect((await resident.status()).connected).toBe(false);
    resident.put('known-hosts/target/known_hosts', trusted(ca));
    await connected(resident);
  });

  it('suspends and resumes', async () => {
    const { sshd, port, spec } = await world();
    const resident = keep(await startResident(sshd, spec));
    await connected(resident);
    resident.configure({ ...spec, suspend: true });
    await resident.shows('the suspension', ({ suspended }) => suspended);
    await until('ssh to be gone', () => resident.ssh() === undefined);
    expect(await resident.get('/livez')).toMatchObject({ status: 200 });
    resident.configure(spec);
    await connected(resident);
    await through(port);
  });

  it('ends on SIGTERM with 0, and nothing of the key is left or was said', async () => {
    const { sshd, spec } = await world();
    const resident = await startResident(sshd, spec);
    await connected(resident);
    const log = JSON.stringify(resident.log());
    expect(log).not.toMatch(/PRIVATE KEY/);
    expect(resident.log().every(({ level, time, msg }) => level && time && msg)).toBe(true);
    expect(await resident.stop()).toBe(0);
  });

  it('ends in order however often it is told to: nothing of the key is left', async () => {
    const { sshd, spec } = await world();
    const resident = await startResident(sshd, spec);
    await connected(resident);
    const ssh = await until('ssh', () => resident.ssh());
    const key = await keyOf(resident);
    expect(existsSync(key)).toBe(true);
    // An ssh that does not hear makes the end last.
    signal(ssh, 'SIGSTOP');
    resident.child.kill('SIGTERM');
    await until('it to be heard', () => resident.log().some(({ msg }) => msg === 'told to stop'));
    resident.child.kill('SIGTERM');
    resident.child.kill('SIGINT');
    expect(await resident.stop()).toBe(0);
    expect(existsSync(dirname(key))).toBe(false);
  });

  it('removes the copy of the key that one left which was killed, and not that of one that lives', async () => {
    const { sshd, service, spec } = await world();
    const killed = await startResident(sshd, spec);
    await connected(killed);
    const left = await keyOf(killed);
    const root = await killed.crash();
    expect(existsSync(left)).toBe(true);
    // Two pods of a workload have the same tunnel.
    const lives = keep(await startResident(sshd, forward(await freePort(), service)));
    await connected(lives);
    expect(existsSync(dirname(left))).toBe(false);
    const kept = await keyOf(lives);
    const next = keep(await startResident(sshd, null, { root }));
    await connected(next);
    expect(existsSync(kept)).toBe(true);
    expect(existsSync(await keyOf(next))).toBe(true);
    await sshd.kill('sessions');
    await lives.shows('another login', ({ connected, sshStarts }) => connected && sshStarts >= 2);
  });

  it('makes its private directory anew where somebody has cleaned it away', async () => {
    const { sshd, spec } = await world();
    const resident = keep(await startResident(sshd, spec));
    const { sshStarts } = await connected(resident);
    const dir = dirname(await keyOf(resident));
    rmSync(dir, { recursive: true });
    await sshd.kill('sessions');
    await resident.shows('the next login', (now) => now.connected && now.sshStarts > sshStarts);
    expect(dirname(await keyOf(resident))).toBe(dir);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    // It is removed at the end, and by the next supervisor where this one is killed.
    const left = await resident.crash();
    expect(existsSync(dir)).toBe(true);
    await connected(keep(await startResident(sshd, null, { root: left })));
    expect(existsSync(dir)).toBe(false);
  });

  it('tells of a configuration what is wrong with it now, also while it waits for the first one', async () => {
    const { sshd, spec } = await world();
    const resident = keep(await startResident(sshd, null));
    const problem = async () => ((await (await fetch(`${resident.page}status`)).json()) as FullStatus).configProblem;
    expect(await problem()).toMatch(/got neither/);
    resident.put('config/AUTOSSH_TUNNEL', '{');
    await until('the second problem', async () => /JSON/.test((await problem()) ?? ''));
    resident.put('config/AUTOSSH_TUNNEL', '{"version": 2}');
    await until('the third problem', async () => /version/.test((await problem()) ?? ''));
    resident.configure(spec);
    await connected(resident);
    expect(await problem()).toBeNull();
  });
});

/** Where the key lies that its ssh uses. */
const keyOf = async (resident: Resident): Promise<string> => {
  const { pid } = await until('ssh', () => resident.ssh());
  return /IdentityFile=([^\0]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))?.[1] ?? '';
};
