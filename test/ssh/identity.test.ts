import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Reason } from '../../src/api/reasons.ts';
import { childEnv } from '../../src/supervisor/child-env.ts';
import { createLogins, type Logins } from '../../src/supervisor/login-files.ts';
import { descendantsOf, type Process, signal } from '../support/processes.ts';
import { makeKey } from '../support/sshd.ts';
import { documentWith } from '../support/tunnels.ts';
import { until } from '../support/until.ts';

/** The files of a login before ssh is started: real keys, the real ssh-keygen, a real agent. */
describe('an identity', () => {
  let base: string;
  let logins: Logins;
  const at = (...path: string[]) => join(base, ...path);
  const mount = (path: string, content: string) => {
    mkdirSync(dirname(at('root', path)), { recursive: true });
    rmSync(at('root', path), { force: true });
    writeFileSync(at('root', path), content, { mode: 0o444 });
  };
  /** Paths of a new key of the test's own. */
  const key = (name: string, passphrase = '', ...more: string[]) => {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', 'test', '-f', at(name), ...more]);
    return { file: at(name), text: readFileSync(at(name), 'utf8'), pub: readFileSync(at(`${name}.pub`), 'utf8') };
  };
  /** A certificate of the key, signed just now. */
  const certify = (name: string, ...more: string[]) => {
    if (!existsSync(at('ca'))) makeKey(at('ca'));
    execFileSync('ssh-keygen', ['-q', '-s', at('ca'), '-I', 'test', '-n', 'tunnel', ...more, at(`${name}.pub`)]);
    return readFileSync(at(`${name}-cert.pub`), 'utf8');
  };
  const prepare = (more: { passphrase?: boolean; certificate?: boolean } = {}) =>
    logins.prepare(
      documentWith({
        ssh: {
          identity: {
            secretRef: {
              name: 'k',
              ...(more.passphrase ? { passphraseKey: 'p' } : {}),
              ...(more.certificate ? { certificateKey: 'c' } : {}),
            },
          },
        },
      }),
    );
  const agentProcess = (): Process | undefined =>
    descendantsOf(process.pid).find(({ pid, name }) => name === 'ssh-agent' && commandOf(pid).includes(base));
  const held = () =>
    execFileSync('ssh-add', ['-L'], { env: { ...process.env, SSH_AUTH_SOCK: at('private/agent') }, encoding: 'utf8' });

  const start = (env: NodeJS.ProcessEnv = process.env) => {
    logins = createLogins({ dir: at('private'), root: at('root'), env: childEnv(env, at('private')) });
  };
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'identity-'));
    mkdirSync(at('private'), { mode: 0o755 });
    start();
    mount('known-hosts/target/known_hosts', 'x ssh-ed25519 AAAA\n');
  });
  afterEach(async () => {
    logins.close();
    await until('the agent to end', () => agentProcess() === undefined);
    rmSync(base, { recursive: true, force: true });
  });

  const PASSPHRASE = `it's "two" words; $(touch pwned) \`id\` %s`;

  describe('that can be used', () => {
    it('is a copy of mode 0600 in a directory of mode 0700, and ssh-keygen can open it', async () => {
      const { text, pub } = key('k');
      mount('identity/target/key', text.replaceAll('\n', '\r\n').trimEnd());
      mount('identity/target/certificate', certify('k'));
      const prepared = await prepare({ certificate: true });
      if (!prepared.ok) throw new Error(prepared.failure.detail);
      expect(statSync(at('private')).mode & 0o777).toBe(0o700);
      for (const name of readdirSync(at('private')))
        expect([name, statSync(at('private', name)).mode & 0o777]).toEqual([name, 0o600]);
      expect(prepared.places.logins.target).toEqual({
        identityFile: at('private/target.key'),
        certificateFile: at('private/target.key-cert.pub'),
      });
      expect(readFileSync(at('private/target.key'), 'utf8')).toBe(text);
      expect(prepared.offer).toMatch(/^login target: SHA256:\S+, certified for tunnel$/);
      expect(prepared.offer).toContain(fingerprint(pub));
    });

    it.each([
      ['OpenSSH', []],
      ['PEM', ['-t', 'rsa', '-m', 'PEM']],
    ])('is in the agent where it needs a passphrase (%s), and nowhere in the clear', async (_format, more) => {
      const { text, pub } = key('k', PASSPHRASE, ...more);
      mount('identity/target/key', text);
      mount('identity/target/passphrase', `${PASSPHRASE}\n`);
      const prepared = await prepare({ passphrase: true });
      expect(prepared).toMatchObject({
        ok: true,
        places: {
          logins: {
            target: { identityFile: at('private/target.key.pub'), identityAgent: at('private/agent') },
          },
        },
      });
      expect(held()).toContain(blobOf(pub));
      expect(statSync(at('private/agent')).mode & 0o777).toBe(0o600);
      expect(readdirSync(at('private')).sort()).toEqual([
        'agent',
        'target.key',
        'target.key.pub',
        'target.known_hosts',
      ]);
      expect(existsSync('pwned')).toBe(false);
    });

    it('may have a passphrase declared that it does not need', async () => {
      mount('identity/target/key', key('k').text);
      expect(await prepare({ passphrase: true })).toMatchObject({ ok: true });
      expect(agentProcess()).toBeUndefined();
    });
  });

  /** What is mounted, and what is said of it. */
  const BAD: readonly (readonly [
    what: string,
    put: () => Parameters<typeof prepare>[0] | undefined,
    Reason,
    RegExp,
  ])[] = [
    [
      'nothing',
      () => undefined,
      'IdentityMissing',
      /^login target: expected a private key at .*target\/key; got nothing/,
    ],
    ['an empty file', () => void mount('identity/target/key', '\n'), 'IdentityMissing', /got nothing/],
    ['something else', () => void mount('identity/target/key', 'hunter2'), 'IdentityInvalid', /got 7 characters/],
    ['the public key', () => void mount('identity/target/key', key('k').pub), 'IdentityInvalid', /got a public key/],
    [
      'a part of a key',
      () => void mount('identity/target/key', key('k').text.slice(0, 200)),
      'IdentityInvalid',
      /only a part/,
    ],
    [
      'a key with a hole',
      () => {
        const lines = key('k').text.split('\n');
        mount('identity/target/key', [...lines.slice(0, 2), ...lines.slice(3)].join('\n'));
        return undefined;
      },
      'IdentityInvalid',
      /^login target: ssh-keygen: /,
    ],
    [
      'a key with a passphrase that nobody named',
      () => void mount('identity/target/key', key('k', PASSPHRASE).text),
      'IdentityInvalid',
      /passphraseKey/,
    ],
    [
      'a passphrase that is not there',
      () => {
        mount('identity/target/key', key('k', PASSPHRASE).text);
        return { passphrase: true };
      },
      'PassphraseWrong',
      /expected a passphrase at .*target\/passphrase; got nothing/,
    ],
    [
      'a wrong passphrase',
      () => {
        mount('identity/target/key', key('k', PASSPHRASE).text);
        mount('identity/target/passphrase', 'something else');
        return { passphrase: true };
      },
      'PassphraseWrong',
      /does not open/,
    ],
    [
      'a wrong passphrase of a PEM key',
      () => {
        mount('identity/target/key', key('k', PASSPHRASE, '-t', 'rsa', '-m', 'PEM').text);
        mount('identity/target/passphrase', 'something else');
        return { passphrase: true };
      },
      'PassphraseWrong',
      /does not open/,
    ],
    ...(
      [
        ['no certificate', () => null, 'IdentityMissing', /expected a certificate at .*; got nothing/],
        ['something else as a certificate', () => 'hunter2', 'IdentityInvalid', /expected a certificate as/],
        ['the public key as a certificate', () => key('other').pub, 'IdentityInvalid', /expected a certificate as/],
        ['an expired certificate', () => certify('k', '-V', '-2h:-1h'), 'CertificateExpired', /was valid until 2/],
        ['a certificate for later', () => certify('k', '-V', '+1h:+2h'), 'CertificateExpired', /not valid before 2/],
        ['a certificate for hosts', () => certify('k', '-h'), 'IdentityInvalid', /for users; got one for hosts/],
        [
          'a certificate of another key',
          () => {
            key('other');
            return certify('other');
          },
          'IdentityInvalid',
          /expected a certificate of the key SHA256:.*; got one of SHA256:/,
        ],
      ] as const
    ).map(
      ([what, make, reason, detail]) =>
        [
          what,
          () => {
            mount('identity/target/key', key('k').text);
            const text = make();
            if (text !== null) mount('identity/target/certificate', text);
            return { certificate: true };
          },
          reason,
          detail,
        ] as const,
    ),
  ];

  it.each(BAD)('that is %s has its reason, in words without any of its content', async (_what, put, reason, detail) => {
    const more = put();
    const prepared = await prepare(more);
    expect(prepared).toMatchObject({ ok: false, failure: { reason } });
    if (prepared.ok) return;
    expect(prepared.failure.detail).toMatch(detail);
    for (const word of [PASSPHRASE, 'hunter2', 'something else\n', ...wordsOf(at('k'))])
      expect(prepared.failure.detail).not.toContain(word);
    // It is told again without asking again, and does not leave a passphrase behind.
    expect(await prepare(more)).toEqual(prepared);
    expect(readdirSync(at('private')).filter((name) => /pass/.test(name))).toEqual([]);
  });

  it('of a jump host has its own reason, and goes when its host goes', async () => {
    mount('identity/target/key', key('k').text);
    const document = documentWith({
      ssh: { jumpHosts: [{ host: 'edge', user: 'hop', identity: { secretRef: { name: 'h' } } }] },
    });
    expect(await logins.prepare(document)).toMatchObject({
      failure: { reason: 'IdentityMissing', detail: expect.stringMatching(/^login hop-1: /) as string },
    });
    mount('identity/hop-1/key', key('hop').text);
    expect(await logins.prepare(document)).toMatchObject({ ok: true });
    expect(existsSync(at('private/hop-1.key'))).toBe(true);
    expect(await prepare()).toMatchObject({ ok: true });
    expect(existsSync(at('private/hop-1.key'))).toBe(false);
  });

  it('is looked at once for each content', async () => {
    mkdirSync(at('bin'));
    const real = execFileSync('which', ['ssh-keygen'], { encoding: 'utf8' }).trim();
    writeFileSync(at('bin/ssh-keygen'), `#!/bin/sh\necho x >> ${at('calls')}\nexec ${real} "$@"\n`);
    chmodSync(at('bin/ssh-keygen'), 0o755);
    start({ ...process.env, PATH: `${at('bin')}:${process.env['PATH']}` });
    mount('identity/target/key', key('k').text);
    mount('identity/target/certificate', certify('k'));
    const calls = () => readFileSync(at('calls'), 'utf8').length / 2;
    for (const _again of [1, 2, 3]) expect(await prepare({ certificate: true })).toMatchObject({ ok: true });
    expect(calls()).toBe(2);
    mount('identity/target/key', key('other').text);
    expect(await prepare({ certificate: true })).toMatchObject({ ok: false });
    expect(calls()).toBe(3);
  });

  it('does not stop the supervisor, not even without OpenSSH', async () => {
    start({ PATH: at('nowhere') });
    mount('identity/target/key', key('k').text);
    expect(await prepare()).toMatchObject({ failure: { reason: 'BadConfiguration' } });
  });

  describe('in the agent', () => {
    const use = async (name: string, slot = 'target') => {
      const made = key(name, PASSPHRASE);
      mount(`identity/${slot}/key`, made.text);
      mount(`identity/${slot}/passphrase`, PASSPHRASE);
      return blobOf(made.pub);
    };

    it('gives way to the one that it is rotated to', async () => {
      const first = await use('k1');
      expect(await prepare({ passphrase: true })).toMatchObject({ ok: true });
      const second = await use('k2');
      expect(await prepare({ passphrase: true })).toMatchObject({ ok: true });
      expect(held()).toContain(second);
      expect(held()).not.toContain(first);
      mount('identity/target/key', key('plain').text);
      expect(await prepare({ passphrase: true })).toMatchObject({ ok: true });
      await until('the agent to end, which nothing needs', () => agentProcess() === undefined);
      expect(existsSync(at('private/agent'))).toBe(false);
    });

    it.each(['SIGKILL', 'SIGSTOP'] as const)('is there again after a %s of the agent', async (name) => {
      const blob = await use('k');
      expect(await prepare({ passphrase: true })).toMatchObject({ ok: true });
      const before = await until('the agent', agentProcess);
      signal(before, name);
      expect(await prepare({ passphrase: true })).toMatchObject({ ok: true });
      expect(held()).toContain(blob);
      await until('one agent alone', () => agentProcess()?.pid !== before.pid);
    });
  });
});

const blobOf = (pub: string) => pub.split(' ')[1] ?? '';
/** Nothing, of one that has ended meanwhile. */
const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};
const fingerprint = (pub: string) =>
  execFileSync('ssh-keygen', ['-l', '-f', '-'], { input: pub, encoding: 'utf8' }).split(' ')[1] ?? '';
/** Every line of a key's content. */
const wordsOf = (file: string) =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.length > 8 && !line.startsWith('-----'))
    : [];
