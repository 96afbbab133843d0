import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, statfsSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { flows, type Service, startService } from '../support/echo.ts';
import { itWith } from '../support/needs.ts';
import { freePort } from '../support/port.ts';
import { descendantsOf, isAlive, signal } from '../support/processes.ts';
import { type Resident, startResident } from '../support/resident.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/** The sidecar's program with keys of every kind, and with people about who want them. */
describe('the secrets of a tunnel', () => {
  const open: { stop(): Promise<unknown> }[] = [];
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    open.push(one);
    return one;
  };
  let [sshd, edge]: Sshd[] = [];
  let service: Service;
  let port: number;
  beforeEach(async () => {
    [sshd, edge, service] = [keep(await startSshd()), keep(await startSshd()), keep(await startService())];
    port = await freePort();
  });
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.stop();
  });
  const servers = () => {
    if (!sshd || !edge) throw new Error('two servers');
    return { sshd, edge };
  };
  const spec = (ssh: object = {}) => ({
    ssh,
    forwards: [{ name: 'echo', local: { listen: { port }, target: { host: '127.0.0.1', port: service.port } } }],
    heartbeat: { periodSeconds: 1, timeoutSeconds: 15 },
    retry: { networkMaxSeconds: 1, authMaxSeconds: 1 },
  });
  const connected = (resident: Resident) => resident.shows('a connection', (status) => status.connected);
  const through = () => flows({ host: '127.0.0.1', port });

  /** A key that only opens with a passphrase, and slowly, so that it can be watched; the server lets it in. */
  const encryptedKey = (server: Sshd, name: string, passphrase: string) => {
    const file = join(server.dir, name);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-a', '32', '-N', passphrase, '-C', name, '-f', file]);
    const pub = readFileSync(`${file}.pub`, 'utf8');
    appendFileSync(server.authorizedKeys, pub);
    return { file, pub, text: readFileSync(file, 'utf8'), passphrase };
  };
  const PASSPHRASES = ['first "passphrase" of $(id)', 'second passphrase; `id`', 'third passphrase %s'] as const;

  /** What every process below the supervisor has in its arguments and its environment, seen again and again. */
  const watch = (resident: Resident) => {
    const seen = { text: new Set<string>(), names: new Set<string>() };
    const look = () => {
      for (const { pid, name } of descendantsOf(resident.child.pid ?? 0)) {
        seen.names.add(name);
        for (const file of ['cmdline', 'environ'])
          try {
            seen.text.add(readFileSync(`/proc/${pid}/${file}`, 'latin1'));
          } catch {
            // It has ended meanwhile.
          }
      }
    };
    const timer = setInterval(look, 2);
    keep({ stop: async () => clearInterval(timer) });
    return seen;
  };
  const secretLines = (text: string) => text.split('\n').filter((line) => line.length > 8 && !line.startsWith('-----'));

  it('open hop and server, in an agent of our own, and are in nobody’s arguments, environment, log, status or metrics', async () => {
    const { sshd, edge } = servers();
    const hop = encryptedKey(edge, 'hop', PASSPHRASES[0]);
    const target = encryptedKey(sshd, 'first', PASSPHRASES[1]);
    const identity = { secretRef: { name: 'k', passphraseKey: 'p' } };
    const jump = {
      ...{ host: edge.host, port: edge.port, user: userInfo().username, identity },
      knownHosts: { configMapRef: { name: 'h' } },
    };
    const resident = keep(
      await startResident(sshd, spec({ identity, jumpHosts: [jump] }), {
        files: {
          'identity/target/key': target.text,
          'identity/target/passphrase': `${target.passphrase}\n`,
          'identity/hop-1/key': hop.text,
          'identity/hop-1/passphrase': hop.passphrase,
          'known-hosts/hop-1/known_hosts': readFileSync(edge.knownHosts, 'utf8'),
        },
      }),
    );
    const seen = watch(resident);
    await connected(resident);
    await through();

    const next = encryptedKey(sshd, 'second', PASSPHRASES[2]);
    resident.put('identity/target/passphrase', next.passphrase);
    resident.put('identity/target/key', next.text);
    const before = sshd.log().length;
    const ssh = await until('ssh', () => resident.ssh());
    const { sshStarts } = await resident.status();
    signal(ssh, 'SIGKILL');
    await resident.shows('the next connection', (status) => status.connected && status.sshStarts > sshStarts);
    await through();
    const accepted = (pub: string) =>
      execFileSync('ssh-keygen', ['-l', '-f', '-'], { input: pub, encoding: 'utf8' }).split(' ')[1] ?? '';
    expect(sshd.log().slice(before)).toContain(`Accepted publickey for ${sshd.user} from`);
    expect(sshd.log().slice(before)).toContain(accepted(next.pub));
    expect(sshd.log().slice(before)).not.toContain(`ED25519 ${accepted(target.pub)}`);

    expect([...seen.names]).toEqual(expect.arrayContaining(['ssh', 'ssh-agent', 'ssh-keygen', 'ssh-add']));
    const said = [
      ...seen.text,
      resident.said(),
      (await resident.get('/status')).body,
      (await resident.get('/metrics')).body,
    ].join('\n');
    for (const secret of [...PASSPHRASES, ...[hop, target, next].flatMap(({ text }) => secretLines(text))])
      expect(said.includes(secret)).toBe(false);
  });

  it('are in memory alone, and go with the supervisor', async () => {
    const { sshd } = servers();
    const key = encryptedKey(sshd, 'key', PASSPHRASES[0]);
    const identity = { secretRef: { name: 'k', passphraseKey: 'p' } };
    const options = {
      files: { 'identity/target/key': key.text, 'identity/target/passphrase': key.passphrase },
    };
    for (const end of ['SIGTERM', 'SIGKILL'] as const) {
      const resident = await startResident(sshd, spec({ identity }), options);
      await connected(resident);
      const file = identityFileOf(await until('ssh', () => resident.ssh()));
      expect(statfsSync(dirname(file)).type).toBe(0x01021994);
      const all = descendantsOf(resident.child.pid ?? 0);
      expect(all.map(({ name }) => name)).toContain('ssh-agent');
      if (end === 'SIGKILL') resident.child.kill('SIGKILL');
      await resident.stop();
      await until('all of them to end', () => !all.some(isAlive));
      // Nothing can be removed after a SIGKILL; then the pod's own volume ends with the pod.
      expect(existsSync(dirname(file))).toBe(end === 'SIGKILL');
      if (end === 'SIGKILL') execFileSync('rm', ['-r', dirname(file)]);
    }
  });

  it('are met by an environment that is a closed list, whatever stands beside them', async () => {
    const { sshd } = servers();
    const mark = 'by-any-door';
    const doors = ['NODE_OPTIONS', 'LD_PRELOAD', 'LD_LIBRARY_PATH', 'PATH', 'SSH_ASKPASS', 'HOME', 'SHELL'];
    const resident = keep(
      await startResident(sshd, spec(), {
        env: { SSH_AUTH_SOCK: `/${mark}`, SSH_ASKPASS: mark, SSH_SK_HELPER: mark, DB_PASSWORD: mark, LC_ALL: 'C' },
        files: Object.fromEntries(
          doors.flatMap((door) => ['config', 'env/0', 'env/7'].map((dir) => [`${dir}/${door}`, `/${mark}`])),
        ),
      }),
    );
    const seen = watch(resident);
    await connected(resident);
    const ssh = await until('ssh', () => resident.ssh());
    const names = readFileSync(`/proc/${ssh.pid}/environ`, 'utf8')
      .split('\0')
      .filter(Boolean)
      .map((one) => one.split('=')[0] ?? '');
    expect(['PATH', 'HOME', 'LANG', 'TMPDIR', 'TZ', 'SHELL']).toEqual(expect.arrayContaining(names));
    // A process is seen with its parent's environment between fork and exec: what counts is what has the name of ssh.
    expect(readFileSync(`/proc/${ssh.pid}/environ`, 'utf8')).not.toContain(mark);
    expect(resident.said()).not.toContain(mark);
    expect(seen.names).toContain('ssh');
  });

  const asAnotherUser = itWith(
    process.getuid?.() === 0 ? null : 'a uid without an entry in /etc/passwd: expected root, who can take one',
  );
  asAnotherUser('serve a uid that has no entry in /etc/passwd', async () => {
    const { sshd, edge } = servers();
    const uid = 27_333;
    expect(() => execFileSync('getent', ['passwd', `${uid}`])).toThrow();
    const jump = {
      ...{ host: edge.host, port: edge.port, user: userInfo().username },
      ...{ identity: { secretRef: { name: 'k' } }, knownHosts: { configMapRef: { name: 'h' } } },
    };
    const resident = keep(
      await startResident(sshd, spec({ jumpHosts: [jump] }), {
        uid,
        files: {
          'identity/hop-1/key': readFileSync(edge.userKey, 'utf8'),
          'known-hosts/hop-1/known_hosts': readFileSync(edge.knownHosts, 'utf8'),
        },
      }),
    );
    await connected(resident);
    await through();
    const ssh = await until('ssh', () => resident.ssh());
    expect(readFileSync(`/proc/${ssh.pid}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\\t${uid}\\t${uid}`, 'm'));
  });
});

const identityFileOf = ({ pid }: { pid: number }): string => {
  const option = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    .split('\0')
    .find((arg) => arg.startsWith('IdentityFile='));
  return option?.slice('IdentityFile='.length) ?? '';
};
