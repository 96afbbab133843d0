import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import { REASONS, type Reason } from '../../src/api/reasons.ts';
import { pauseBounds, retryClass } from '../../src/tunnel/backoff.ts';
import { startService } from '../support/echo.ts';
import { canBind, freePort } from '../support/port.ts';
import { signal } from '../support/processes.ts';
import { type Resident, startResident } from '../support/resident.ts';
import { makeKey, type Sshd, type SshdOptions, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/** Apart from each other, so that the pause before a retry tells its class; short, so that what is healed is soon up again. */
const RETRY = { networkMaxSeconds: 1, remotePortBusySeconds: 4, authMaxSeconds: 2 };

type Spec = { ssh: object; [field: string]: unknown };
type World = {
  readonly sshd: Sshd;
  readonly resident: Resident;
  /** Ports for a forward on this side and on the other. */
  readonly localPort: number;
  readonly remotePort: number;
  /** Takes another specification of ssh, over that of the row. */
  readonly ssh: (change: object) => void;
  readonly suspend: (is: boolean) => Promise<void>;
  /** Ends the ssh that runs: the next one meets the changed world. */
  readonly sever: () => Promise<void>;
  readonly keep: <T extends { stop(): Promise<unknown> }>(one: T) => T;
};

/** What happens to a tunnel, the reason that is told of it, and what takes it away again. */
type Row = {
  readonly reason: Reason;
  readonly when: string;
  readonly server?: SshdOptions;
  /** Made before the supervisor starts: more of `ssh`, of the specification, and files of its volumes. */
  readonly given?: (sshd: Sshd, ports: { localPort: number; remotePort: number }) => Promise<Given> | Given;
  /** There is a connection before it. */
  readonly connectsFirst?: boolean;
  /** What is wrong concerns one forward, for which no connection is given up. */
  readonly ofOneForward?: boolean;
  readonly breaks: (world: World) => Promise<() => unknown> | (() => unknown);
};
type Given = { readonly ssh?: object; readonly spec?: object; readonly files?: Readonly<Record<string, string>> };

const KEY = 'identity/target/key';
const KNOWN_HOSTS = 'known-hosts/target/known_hosts';
const own = (sshd: Sshd) => readFileSync(sshd.userKey, 'utf8');
const swap = (path: string, bad: string | null, good: (world: World) => string) => async (world: World) => {
  world.resident.put(path, bad);
  await world.sever();
  return () => world.resident.put(path, good(world));
};
const identity = (more: object) => ({ identity: { secretRef: { name: 'k', ...more } } });
/** A server of its own words. */
const speaking = (words: string) =>
  startService({ host: '127.0.0.1', port: 0 }, (guest) => {
    guest.on('data', () => {}).write(words);
  });
const remote = (listenPort: number) => ({
  forwards: [{ name: 'back', remote: { listen: { host: '127.0.0.1', port: listenPort }, target: { port: 1 } } }],
});

const ROWS: readonly Row[] = [
  {
    reason: 'AuthFailed',
    when: 'the server takes the key away',
    breaks: async ({ sshd, sever }) => {
      const before = readFileSync(sshd.authorizedKeys, 'utf8');
      writeFileSync(sshd.authorizedKeys, '');
      await sever();
      return () => writeFileSync(sshd.authorizedKeys, before);
    },
  },
  {
    reason: 'IdentityMissing',
    when: 'the Secret goes',
    breaks: swap(KEY, null, ({ sshd }) => own(sshd)),
  },
  {
    reason: 'IdentityInvalid',
    when: 'the Secret holds something else',
    breaks: swap(KEY, 'ssh-ed25519 AAAAC3Nz of somebody\n', ({ sshd }) => own(sshd)),
  },
  {
    reason: 'PassphraseWrong',
    when: 'the passphrase is another one',
    given: (sshd) => {
      const file = join(sshd.dir, 'encrypted');
      makeKey(file, 'ed25519', 'the passphrase');
      writeFileSync(sshd.authorizedKeys, readFileSync(`${file}.pub`));
      return {
        ssh: identity({ passphraseKey: 'p' }),
        files: { [KEY]: readFileSync(file, 'utf8'), 'identity/target/passphrase': 'the passphrase' },
      };
    },
    breaks: swap('identity/target/passphrase', 'another one', () => 'the passphrase'),
  },
  {
    reason: 'CertificateExpired',
    when: 'the certificate is one of yesterday',
    given: (sshd) => {
      const ca = join(sshd.dir, 'ca');
      makeKey(ca);
      writeFileSync(sshd.authorizedKeys, `cert-authority ${readFileSync(`${ca}.pub`, 'utf8')}`);
      return {
        ssh: identity({ certificateKey: 'c' }),
        files: { 'identity/target/certificate': certificate(sshd, '-1h:+1h') },
      };
    },
    breaks: async (world) => {
      const { sshd } = world;
      return swap('identity/target/certificate', certificate(sshd, '-2d:-1d'), () => certificate(sshd, '-1h:+1h'))(
        world,
      );
    },
  },
  {
    reason: 'HostKeyChanged',
    when: 'known_hosts has another key for the host',
    breaks: async (world) => {
      const { sshd } = world;
      makeKey(join(sshd.dir, 'other_host_key'));
      const other = readFileSync(join(sshd.dir, 'other_host_key.pub'), 'utf8');
      return swap(KNOWN_HOSTS, `[${sshd.host}]:${sshd.port} ${other}`, () => readFileSync(sshd.knownHosts, 'utf8'))(
        world,
      );
    },
  },
  {
    reason: 'HostKeyUnknown',
    when: 'known_hosts has no key for the host',
    breaks: swap(KNOWN_HOSTS, '# nobody\n', ({ sshd }) => readFileSync(sshd.knownHosts, 'utf8')),
  },
  {
    reason: 'AlgorithmMismatch',
    when: 'the server allows no cipher of ours',
    given: () => ({ ssh: { options: { ciphers: 'aes128-ctr' } } }),
    breaks: async ({ sshd }) => {
      await sshd.restart({ config: ['Ciphers aes256-ctr'] });
      return () => sshd.restart({ config: [] });
    },
  },
  {
    reason: 'RemoteForwardFailed',
    when: 'the server lets nobody listen',
    ofOneForward: true,
    server: { config: ['PermitListen none'] },
    given: (_sshd, { remotePort }) => ({ spec: remote(remotePort) }),
    connectsFirst: false,
    breaks:
      ({ sshd }) =>
      () =>
        sshd.restart({ config: [] }),
  },
  {
    reason: 'RemotePortBusy',
    when: 'somebody has taken the port that worked before',
    ofOneForward: true,
    given: (_sshd, { remotePort }) => ({ spec: remote(remotePort) }),
    breaks: async ({ suspend, keep, remotePort: port }) => {
      await suspend(true);
      // The server lets go of it a moment after ssh has ended.
      await until('the port to be free', () => canBind('127.0.0.1', port));
      const thief = keep(await startService({ host: '127.0.0.1', port }));
      await suspend(false);
      return () => thief.stop();
    },
  },
  {
    reason: 'LocalPortBusy',
    when: 'somebody has taken the port of a forward',
    ofOneForward: true,
    breaks: async ({ suspend, keep, localPort: port }) => {
      await suspend(true);
      await until('the port to be free', () => canBind('127.0.0.1', port));
      const thief = keep(await startService({ host: '127.0.0.1', port }));
      await suspend(false);
      return () => thief.stop();
    },
  },
  {
    reason: 'TargetUnreachable',
    when: 'the server behind a jump host is gone',
    // The server is its own jump host, so that what lies behind that one can go alone.
    given: ({ host, port, user }) => ({ ssh: { jumpHosts: [{ host, port, user }] } }),
    breaks: async ({ ssh }) => {
      const port = await freePort();
      ssh({ port });
      return () => ssh({});
    },
  },
  {
    reason: 'NameResolution',
    when: 'the name of the server is no name',
    breaks: ({ ssh }) => {
      ssh({ host: 'no-such-host.invalid' });
      return () => ssh({});
    },
  },
  {
    reason: 'ConnectionRefused',
    when: 'sshd is down',
    breaks: async ({ sshd }) => {
      await sshd.kill();
      return () => sshd.restart();
    },
  },
  {
    reason: 'ConnectTimeout',
    when: 'the server takes connections and says nothing',
    given: () => ({ ssh: { options: { connectTimeoutSeconds: 1 } } }),
    breaks: ({ sshd }) => {
      sshd.pause();
      return () => sshd.resume();
    },
  },
  {
    reason: 'NetworkUnreachable',
    when: 'no connection can lead to the address',
    breaks: ({ ssh }) => {
      // The kernel has this answer for every multicast address, whatever routes the machine has.
      ssh({ host: '224.0.0.1' });
      return () => ssh({});
    },
  },
  {
    reason: 'ServerBusy',
    when: 'somebody else holds the one login that the server allows at a time',
    server: { config: ['MaxStartups 1:100:1'] },
    breaks: async ({ sshd, sever, keep }) => {
      const guest = connect(sshd.port, sshd.host).on('error', () => {});
      keep({ stop: async () => guest.destroy() });
      await new Promise((resolve) => guest.once('data', resolve));
      await sever();
      return () => guest.destroy();
    },
  },
  {
    reason: 'KeepAliveTimeout',
    when: 'the server stops answering, between two heartbeats',
    given: () => ({
      ssh: { options: { serverAliveIntervalSeconds: 1, serverAliveCountMax: 1 } },
      spec: { heartbeat: { periodSeconds: 600 } },
    }),
    breaks: ({ sshd }) => {
      sshd.pause();
      return () => sshd.resume();
    },
  },
  {
    reason: 'HeartbeatLost',
    when: 'ssh is stopped',
    breaks: async ({ resident, sshd }) => {
      sshd.pause('listener');
      signal(await until('ssh', () => resident.ssh()), 'SIGSTOP');
      return () => sshd.resume();
    },
  },
  {
    reason: 'RemoteClosed',
    when: 'the server ends the session',
    breaks: async ({ sshd }) => {
      sshd.pause('listener');
      await sshd.kill('sessions');
      return () => sshd.resume();
    },
  },
  {
    reason: 'Killed',
    when: 'ssh is killed',
    breaks: async ({ sshd, sever }) => {
      sshd.pause('listener');
      await sever();
      return () => sshd.resume();
    },
  },
  {
    reason: 'BadConfiguration',
    when: 'ssh knows no such cipher',
    breaks: ({ ssh }) => {
      ssh({ options: { ciphers: 'rot13' } });
      return () => ssh({});
    },
  },
  {
    reason: 'Unknown',
    when: 'the server is something else and chatters',
    breaks: async ({ ssh, keep }) => {
      const other = keep(await speaking('x'.repeat(70_000)));
      ssh({ port: other.port });
      return () => ssh({});
    },
  },
];

const certificate = (sshd: Sshd, valid: string): string => {
  const args = ['-q', '-s', join(sshd.dir, 'ca'), '-I', 'test', '-n', sshd.user, '-V', valid, `${sshd.userKey}.pub`];
  execFileSync('ssh-keygen', args);
  return readFileSync(`${sshd.userKey}-cert.pub`, 'utf8');
};

/** Each reason of the closed set, provoked on a real sshd: what status, log and metric say, when it is tried again, and that it heals. */
describe('the reason', { timeout: 600_000 }, () => {
  /** Stops everything of one test, the last first, at its end. */
  const keeper = ({ onTestFinished }: Pick<TestContext, 'onTestFinished'>): World['keep'] => {
    const open: { stop(): Promise<unknown> }[] = [];
    onTestFinished(async () => {
      for (const one of open.splice(0).reverse()) await one.stop();
    });
    return (one) => {
      open.push(one);
      return one;
    };
  };

  /** A few at a time: each has a supervisor and an sshd of its own. */
  const lanes = Array.from({ length: 5 }, (): Promise<unknown> => Promise.resolve());
  const turn = async ({ onTestFinished }: Pick<TestContext, 'onTestFinished'>): Promise<void> => {
    const before = lanes.shift();
    lanes.push(new Promise((resolve) => onTestFinished(() => resolve(undefined))));
    await before;
  };

  it('is one of these', () => {
    expect(ROWS.map(({ reason }) => reason).sort()).toEqual([...REASONS].sort());
  });

  // At the same time, since each is mostly a wait.
  it.concurrent.for(ROWS)(
    '$reason: $when',
    async ({ reason, server, given, connectsFirst = true, ofOneForward = false, breaks }, context) => {
      // First, since what is to be done at the end of a test is done in reverse.
      await turn(context);
      const keep = keeper(context);
      const { expect } = context;
      const sshd = keep(await startSshd(server));
      const [localPort, remotePort] = [await freePort(), await freePort()];
      const { ssh = {}, spec: more = {}, files = {} } = (await given?.(sshd, { localPort, remotePort })) ?? {};
      const spec: Spec = {
        ssh,
        forwards: [{ name: 'there', local: { listen: { port: localPort }, target: { port: 1 } } }],
        heartbeat: { periodSeconds: 1, timeoutSeconds: 4 },
        retry: RETRY,
        // No connection of this test is old enough to be retried at once.
        env: { AUTOSSH_GATETIME: '3600', AUTOSSH_LOGLEVEL: '7' },
        ...more,
      };
      const resident = await startResident(sshd, spec, { files });
      // Told to stop, and only then, it ends, and well.
      keep({ stop: async () => expect(await resident.stop()).toBe(0) });
      const connected = () => resident.shows('a connection', (status) => status.connected);
      if (connectsFirst) await connected();

      const world: World = {
        ...{ sshd, resident, localPort, remotePort, keep },
        ssh: (change) => resident.configure({ ...spec, ssh: { ...ssh, ...change } }),
        suspend: async (suspend) => {
          resident.configure({ ...spec, suspend });
          await resident.shows(`suspended: ${suspend}`, ({ suspended }) => suspended === suspend);
          if (suspend) await until('ssh to end', () => resident.ssh() === undefined);
        },
        sever: async () => {
          signal(await until('ssh', () => resident.ssh()), 'SIGKILL');
        },
      };
      const heal = await breaks(world);
      const status = await resident.shows(reason, (status) => status.reason === reason);
      expect(status.connected).toBe(false);
      expect(status.disconnects).toBeGreaterThan(0);
      expect(await resident.get('/livez')).toMatchObject({ status: 200 });
      expect(await resident.get('/readyz')).toMatchObject({ status: 503 });
      const metrics = (await resident.get('/metrics')).body;
      expect(metrics).toMatch(
        new RegExp(`^autossh_disconnects_total\\{tunnel="orders-db",reason="${reason}"\\} [1-9]`, 'm'),
      );

      const kind = retryClass(reason);
      if (ofOneForward) {
        // The connection lives on without it, and asks for it again by and by.
        await until('the log to tell of the forward', () =>
          resident.log().some((line) => line['msg'] === 'forward is not in place' && line['reason'] === reason),
        );
        expect(metrics).toMatch(/^autossh_forward_up\{.*\} 0$/m);
        await until('the connection', async () =>
          (await resident.get('/metrics')).body.includes('autossh_tunnel_up{tunnel="orders-db"} 1'),
        );
        expect((await resident.status()).connected).toBe(false);
        await heal();
        await connected();
        return;
      }
      expect(metrics).toContain('autossh_tunnel_up{tunnel="orders-db"} 0');
      const { lines, told } = await until(`the log to tell of ${reason}`, () => {
        const lines = resident.log().filter((line) => typeof line['pauseMs'] === 'number');
        const told = lines.findIndex((line) => line['reason'] === reason);
        return told >= 0 && { lines, told };
      });
      // Each class counts its own failures, and those before this one were of various reasons.
      const attempt = lines.slice(0, told + 1).filter((line) => retryClass(line['reason'] as Reason) === kind).length;
      const { min, max } = pauseBounds(kind, attempt, RETRY);
      const pause = lines[told]?.['pauseMs'] as number;
      expect([pause >= min - 1, pause <= max + 1, pause, min, max, attempt]).toEqual([
        true,
        true,
        pause,
        min,
        max,
        attempt,
      ]);

      await heal();
      expect((await connected()).reason).toBeNull();
      await until('it to be ready', async () => (await resident.get('/readyz')).status === 200);
      expect(resident.child.exitCode).toBeNull();
    },
  );

  it('of a configuration that can never work is told by a supervisor that waits', async (context) => {
    const keep = keeper(context);
    const sshd = keep(await startSshd());
    const resident = await startResident(sshd, null, { files: { 'config/AUTOSSH_TUNNEL': '{"version": 2}' } });
    keep({ stop: async () => expect(await resident.stop()).toBe(0) });
    expect(await resident.status()).toMatchObject({ reason: 'BadConfiguration', configAccepted: false });
    expect(await resident.get('/livez')).toMatchObject({ status: 200 });
    expect(await resident.get('/startupz')).toMatchObject({ status: 503 });
    resident.configure({
      forwards: [{ name: 'there', local: { listen: { port: await freePort() }, target: { port: 1 } } }],
    });
    await resident.shows('a connection', (status) => status.connected && status.configAccepted);
  });
});
