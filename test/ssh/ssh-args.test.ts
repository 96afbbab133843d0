import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentOf } from '../../src/api/hand-over.ts';
import { type Places, type SshCommand, sshCommand } from '../../src/tunnel/ssh-args.ts';
import { enforced } from '../../src/tunnel/ssh-options.ts';
import { freePort } from '../support/port.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { documentWith, placesIn, tunnelOf } from '../support/tunnels.ts';
import { until } from '../support/until.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ssh-args-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const write = ({ files }: SshCommand) => {
  for (const { path, content } of files) writeFileSync(path, content, { mode: 0o600 });
};

/** What ssh understands: its own words for every option, in lower case. */
const understood = (args: readonly string[]): Map<string, string[]> => {
  const said = execFileSync('ssh', ['-G', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const values = new Map<string, string[]>();
  for (const line of said.trim().split('\n')) {
    const [keyword = '', ...rest] = line.split(' ');
    values.set(keyword, [...(values.get(keyword) ?? []), rest.join(' ')]);
  }
  return values;
};
const unlessRefused = (args: readonly string[]): Map<string, string[]> | null => {
  try {
    return understood(args);
  } catch (problem) {
    if (/Bad (?:SSH2|key|configuration)|terminating/.test(String((problem as { stderr?: string }).stderr))) return null;
    throw problem;
  }
};
const one = (values: Map<string, string[]>, keyword: string) => values.get(keyword)?.join(' | ');

/** In the words of `ssh -G`; what is absent there is off. */
const ENFORCED: Record<string, string | undefined> = {
  batchmode: 'yes',
  exitonforwardfailure: 'yes',
  identitiesonly: 'yes',
  stricthostkeychecking: 'true',
  globalknownhostsfile: '/dev/null',
  knownhostscommand: undefined,
  verifyhostkeydns: 'false',
  updatehostkeys: 'false',
  permitlocalcommand: 'no',
  forwardagent: 'no',
  forwardx11: 'no',
  tunnel: 'false',
  passwordauthentication: 'no',
  kbdinteractiveauthentication: 'no',
  preferredauthentications: 'publickey',
  addkeystoagent: 'false',
  pkcs11provider: undefined,
  canonicalizehostname: 'false',
  connectionattempts: '1',
  escapechar: 'none',
  ipqos: 'none none',
  loglevel: 'INFO',
  localcommand: undefined,
  remotecommand: undefined,
  proxycommand: undefined,
  identityagent: 'none',
};

/** What would do harm, or at least something else, if a later line of a configuration could set it. */
const HOSTILE: Record<string, string> = {
  BatchMode: 'no',
  ExitOnForwardFailure: 'no',
  IdentitiesOnly: 'no',
  StrictHostKeyChecking: 'no',
  UserKnownHostsFile: '/tmp/x',
  GlobalKnownHostsFile: '/tmp/x',
  KnownHostsCommand: '/bin/id',
  UpdateHostKeys: 'yes',
  VerifyHostKeyDNS: 'yes',
  PermitLocalCommand: 'yes',
  ForwardAgent: 'yes',
  ForwardX11: 'yes',
  Tunnel: 'yes',
  PreferredAuthentications: 'password',
  PasswordAuthentication: 'yes',
  KbdInteractiveAuthentication: 'yes',
  IdentityAgent: '/tmp/x',
  AddKeysToAgent: 'yes',
  PKCS11Provider: '/tmp/x.so',
  CanonicalizeHostname: 'always',
  ConnectionAttempts: '9',
  EscapeChar: '^b',
  IPQoS: 'af21',
  LogLevel: 'DEBUG',
  ProxyCommand: 'id',
};
/** ssh takes all values of these, not the first; they are files of ours. */
const ADDING_UP = ['IdentityFile', 'CertificateFile'];

describe('ssh -G reads what was meant', () => {
  it('without a hop', () => {
    const document = documentWith({
      ssh: {
        host: '2001:db8::1',
        port: 2222,
        hostKeyAlias: 'bastion',
        options: {
          compression: true,
          connectTimeoutSeconds: 7,
          serverAliveIntervalSeconds: 8,
          serverAliveCountMax: 9,
          addressFamily: 'IPv6',
          hostKeyAlgorithms: 'ssh-ed25519',
          pubkeyAcceptedAlgorithms: '-ssh-rsa',
          kexAlgorithms: 'curve25519-sha256',
          ciphers: 'aes256-ctr,aes128-ctr',
          macs: 'hmac-sha2-256',
        },
      },
      forwards: [
        { name: 'a', local: { listen: { host: '::1', port: 1 }, target: { host: '2001:db8::2', port: 2 } } },
        { name: 'b', local: { listen: { path: '/tmp/a@b.sock' }, target: { path: '/tmp/b' } } },
        { name: 'c', remote: { listen: { port: 3 }, target: { port: 4 } } },
        { name: 'd', dynamic: { listen: { host: '*', port: 1080 } } },
      ],
    });
    const command = sshCommand(document, placesIn(dir));
    const values = understood(command.argv);
    for (const [keyword, value] of Object.entries(ENFORCED))
      expect([keyword, one(values, keyword)]).toEqual([keyword, value]);
    expect(Object.fromEntries([...values].map(([keyword, all]) => [keyword, all.join(' | ')]))).toMatchObject({
      hostname: '2001:db8::1',
      port: '2222',
      user: 'tunnel',
      hostkeyalias: 'bastion',
      compression: 'yes',
      connecttimeout: '7',
      serveraliveinterval: '8',
      serveralivecountmax: '9',
      addressfamily: 'inet6',
      hostkeyalgorithms: 'ssh-ed25519',
      kexalgorithms: 'curve25519-sha256',
      ciphers: 'aes256-ctr,aes128-ctr',
      macs: 'hmac-sha2-256',
      identityfile: `${dir}/target.key`,
      userknownhostsfile: `${dir}/target.known_hosts`,
      localforward: '[::1]:1 [2001:db8::2]:2 | /tmp/a@b.sock /tmp/b',
      remoteforward: '[localhost]:3 [localhost]:4',
    });
    // ssh -G of 9.2 lists a forward between unix sockets here too.
    expect(values.get('dynamicforward')).toContain('[*]:1080');
    expect(one(values, 'pubkeyacceptedalgorithms')).not.toContain('ssh-rsa,');
  });

  it('at every hop, asked as ssh asks for it, with nothing but the file', () => {
    const document = documentWith({
      ssh: {
        jumpHosts: [
          {
            host: 'edge.example.com',
            user: 'hop',
            port: 2200,
            identity: { secretRef: { name: 'k' } },
            options: { ciphers: '-aes128-ctr', connectTimeoutSeconds: 3 },
          },
          { host: '10.0.0.2', knownHosts: { inline: 'x ssh-ed25519 AAAA' }, hostKeyAlias: 'inner' },
        ],
      },
    });
    const command = sshCommand(document, placesIn(dir));
    write(command);
    const [first, second] = ['autossh_hop_1', 'autossh_hop_2'].map((hop) =>
      understood(['-F', join(dir, 'ssh_config'), '-W', '[target]:22', hop]),
    );
    if (!first || !second) throw new Error('two hops');
    for (const hop of [first, second]) {
      for (const [keyword, value] of Object.entries(ENFORCED))
        expect([keyword, one(hop, keyword)]).toEqual([keyword, value]);
      expect(one(hop, 'controlmaster')).toBe('false');
      expect(one(hop, 'controlpath')).toBeUndefined();
      expect(one(hop, 'localforward')).toBeUndefined();
    }
    expect([one(first, 'hostname'), one(first, 'port'), one(first, 'user'), one(first, 'connecttimeout')]).toEqual([
      'edge.example.com',
      '2200',
      'hop',
      '3',
    ]);
    expect(one(first, 'identityfile')).toBe(`${dir}/hop-1.key`);
    expect(one(first, 'userknownhostsfile')).toBe(`${dir}/target.known_hosts`);
    expect(one(first, 'ciphers')).not.toContain('aes128-ctr');
    expect([one(second, 'hostname'), one(second, 'port'), one(second, 'user'), one(second, 'hostkeyalias')]).toEqual([
      '10.0.0.2',
      '22',
      'tunnel',
      'inner',
    ]);
    expect(one(second, 'identityfile')).toBe(`${dir}/target.key`);
    expect(one(second, 'userknownhostsfile')).toBe(`${dir}/hop-2.known_hosts`);
    // The outer ssh goes through both and takes nothing from their blocks.
    const outer = understood(command.argv);
    expect(one(outer, 'proxyjump')).toBe('autossh_hop_1,autossh_hop_2');
    expect([one(outer, 'hostname'), one(outer, 'port')]).toEqual(['bastion.example.com', '22']);
  });

  it('has something hostile against every enforced option', () => {
    const login = { identityFile: '/k', certificateFile: '/c', identityAgent: 'none', knownHostsFile: '/h' };
    const keywords = enforced(login).map(([keyword]) => keyword);
    expect(keywords.filter((keyword) => !(keyword in HOSTILE) && !ADDING_UP.includes(keyword))).toEqual([]);
  });

  it.each(Object.entries(HOSTILE))('lets no later %s %s count, at the server or at a hop', (keyword, value) => {
    const name = keyword.toLowerCase();
    const direct = sshCommand(documentWith(), placesIn(dir)).argv;
    const end = direct.indexOf('--');
    const put = [...direct.slice(0, end), '-o', `${keyword}=${value}`, ...direct.slice(end)];
    const proxied = sshCommand(documentWith({ ssh: { jumpHosts: [{ host: 'edge.example.com' }] } }), placesIn(dir));
    const file = join(dir, 'ssh_config.hostile');
    writeFileSync(file, `${proxied.files[0]?.content}\nHost *\n  ${keyword} ${value}\n`);
    const expected = name === 'userknownhostsfile' ? `${dir}/target.known_hosts` : ENFORCED[name];
    expect(one(understood(put), name)).toBe(expected);
    expect(one(understood(['-F', file, '-W', '[target]:22', 'autossh_hop_1']), name)).toBe(expected);
    // Without anything enforced it would count.
    expect(one(understood(['-F', 'none', '-o', `${keyword}=${value}`, 'x']), name)).not.toBe(expected);
  });

  it('also with a percent sign in a path', () => {
    const document = documentWith();
    const places: Places = { ...placesIn(dir), logins: { target: { identityFile: `${dir}/50%h` } } };
    writeFileSync(`${dir}/50%h`, 'not a key');
    // ssh -G shows the words before expansion; that they expand to one sign shows in the file that is looked for.
    const { argv } = sshCommand(document, places);
    expect(argv).toContain(`IdentityFile=${dir}/50%%h`);
    expect(one(understood(argv), 'identityfile')).toBe(`${dir}/50%%h`);
  });
});

describe('whatever the schema lets through', () => {
  const LETTERS = [...'aZ09', ...'._-@+^*?,:/[]=%$#"\'\\~!|;& \n'];
  const text = fc.string({ unit: fc.constantFrom(...LETTERS), minLength: 1, maxLength: 8 });
  /** Only what passes is worth a question to ssh. */
  const passing = (shape: (value: string) => Parameters<typeof documentWith>[0], begin = '') =>
    text
      .map((value) => `${begin}${value}`)
      .filter((value) => {
        try {
          return documentWith(shape(value)) !== undefined;
        } catch {
          return false;
        }
      });
  const host = passing((host) => ({ ssh: { host } }));
  const user = passing((user) => ({ ssh: { user } }));
  const algorithms = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('hmac-sha2-256', '+hmac-sha2-512', '^hmac-sha2-256', '-*md5*', '-?mac-*') },
    passing((macs) => ({ ssh: { options: { macs } } })),
  );
  const path = passing((path) => forward({ path }), '/');
  const forward = (listen: object) => ({ forwards: [{ name: 'a', local: { listen, target: { port: 1 } } }] });

  it('changes no enforced option, at the server or at a hop, and runs nothing', () => {
    let asked = 0;
    const login = fc.record({
      host,
      user,
      hostKeyAlias: host,
      options: fc.record({ macs: algorithms }),
    });
    fc.assert(
      fc.property(login, login, path, (server, hop, socket) => {
        const document = documentWith({ ssh: { ...server, jumpHosts: [hop] }, ...forward({ path: socket }) });
        const command = sshCommand(document, placesIn(dir));
        write(command);
        for (const [args, expected] of [
          [command.argv, server],
          [['-F', join(dir, 'ssh_config'), '-W', '[target]:22', 'autossh_hop_1'], hop],
        ] as const) {
          const values = unlessRefused(args);
          // Algorithms that it does not know: it says so, and does nothing.
          if (values === null) continue;
          asked++;
          for (const [keyword, value] of Object.entries(ENFORCED))
            expect([keyword, one(values, keyword)]).toEqual([keyword, value]);
          expect(one(values, 'hostname')).toBe(expected.host.toLowerCase());
          expect(one(values, 'user')).toBe(expected.user);
        }
      }),
      { numRuns: 40 },
    );
    expect(asked).toBeGreaterThan(0);
  });
});

describe('a real login through two hops', () => {
  let [edge, inner, target]: (Sshd | undefined)[] = [];
  let service: Server;
  let servicePort: number;
  let decoy: Sshd;

  beforeAll(async () => {
    [edge, inner, target] = [await startSshd(), await startSshd(), await startSshd()];
    decoy = await startSshd();
    service = createServer((socket) => socket.end('served\n'));
    await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
    const address = service.address();
    servicePort = typeof address === 'object' && address ? address.port : 0;
  });
  afterAll(async () => {
    service?.close();
    await Promise.all([edge, inner, target, decoy].map((one) => one?.stop()));
  });

  const command = async (change: Partial<Places['knownHosts']> = {}) => {
    if (!edge || !inner || !target) throw new Error('three servers');
    const hop = (sshd: Sshd) => ({
      host: sshd.host,
      port: sshd.port,
      user: userInfo().username,
      identity: { secretRef: { name: 'k' } },
      knownHosts: { configMapRef: { name: 'h' } },
    });
    const listen = { port: await freePort() };
    const tunnel = tunnelOf({
      ssh: { ...hop(target), jumpHosts: [hop(edge), hop(inner)] },
      forwards: [{ name: 'service', local: { listen, target: { host: '127.0.0.1', port: servicePort } } }],
    });
    const places: Places = {
      logins: {
        target: { identityFile: target.userKey },
        'hop-1': { identityFile: edge.userKey },
        'hop-2': { identityFile: inner.userKey },
      },
      knownHosts: { target: target.knownHosts, 'hop-1': edge.knownHosts, 'hop-2': inner.knownHosts, ...change },
      configFile: join(dir, 'ssh_config.live'),
    };
    const made = sshCommand(documentOf(tunnel), places);
    write(made);
    return { ...made, port: listen.port };
  };

  /** Runs it in a process group of its own, since a hop's ssh can outlive its parent. */
  const run = ({ argv, env }: SshCommand) => {
    const child = spawn('ssh', argv, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
    const stop = async () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
      await ended;
    };
    return { said: () => said, ended, stop };
  };

  const ask = (port: number) =>
    new Promise<string>((resolve) => {
      let got = '';
      const socket = connect(port, '127.0.0.1');
      socket.setEncoding('utf8').on('data', (text: string) => {
        got += text;
      });
      socket.on('error', () => {}).on('close', () => resolve(got));
    });

  it('carries bytes, each hop with its own key and host key', async () => {
    const made = await command();
    const ssh = run(made);
    try {
      await until('the service to answer through two hops', async () => (await ask(made.port)) === 'served\n', {
        deadlineMs: 60_000,
        everyMs: 100,
        state: ssh.said,
      });
    } finally {
      await ssh.stop();
    }
  });

  it.each(['hop-1', 'hop-2', 'target'] as const)('ends where the host key of %s is another', async (slot) => {
    const sshd = { 'hop-1': edge, 'hop-2': inner, target }[slot];
    const wrong = join(dir, 'wrong_hosts');
    const [, ...key] = readFileSync(decoy.knownHosts, 'utf8').trim().split(' ');
    writeFileSync(wrong, `[${sshd?.host}]:${sshd?.port} ${key.join(' ')}\n`);
    const ssh = run(await command({ [slot]: wrong }));
    try {
      expect(await ssh.ended).toBe(255);
      expect(ssh.said()).toContain(`Host key for [${sshd?.host}]:${sshd?.port} has changed`);
    } finally {
      await ssh.stop();
    }
  });

  it('ends where known_hosts does not name a hop', async () => {
    const ssh = run(await command({ 'hop-2': '/dev/null' }));
    try {
      expect(await ssh.ended).toBe(255);
      expect(ssh.said()).toContain('Host key verification failed.');
    } finally {
      await ssh.stop();
    }
  });
});
