import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Judged, judge, type Purpose } from '../../src/local/judge.ts';
import type { Given } from '../../src/local/local-tunnel.ts';
import { violationText } from '../../src/local/violation.ts';
import { manifests } from '../support/manifests.ts';

const KEY = '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n';
const GIVEN: Given = {
  identity: {
    path: '/key',
    key: Buffer.from(KEY),
    certificate: Buffer.from('ssh-ed25519-cert-v01@openssh.com AAAA\n'),
  },
  knownHosts: { path: '/known_hosts', lines: Buffer.from('bastion.example.com ssh-ed25519 AAAA\n') },
};

const tunnel = (name = 'orders-db', port = 5432, more = '') => `apiVersion: autossh.dev/v1alpha1
kind: SshTunnel
metadata:
  name: ${name}
spec:
  ssh:
    host: bastion.example.com
    user: tunnel
    identity:
      secretRef:
        name: bastion-key
    knownHosts:
      configMapRef:
        name: bastion-hosts
  forwards:
    - name: pg
      local: {listen: {port: ${port}}, target: {host: db.internal, port: 5432}}
${more}`;
const secret = (data: string) => `---\napiVersion: v1\nkind: Secret\nmetadata: {name: bastion-key}\n${data}`;
const hosts = (data = 'data: {known_hosts: bastion.example.com ssh-ed25519 AAAA}\n') =>
  `---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: bastion-hosts}\n${data}`;
const judged = (text: string, given: Given = GIVEN, purpose: Purpose = 'run'): Judged =>
  judge([{ file: 't.yaml', text }], given, purpose);
const lines = (...args: Parameters<typeof judged>): string[] => judged(...args).violations.map(violationText);

describe('judge', () => {
  it('accepts what the API server accepts, with files for what it refers to', () => {
    for (const { name, yaml } of manifests('accepted'))
      expect([name, lines(yaml, GIVEN, 'cluster')]).toEqual([name, []]);
    expect(lines(tunnel())).toEqual([]);
    expect(lines(tunnel() + secret(`stringData: {ssh-privatekey: ${JSON.stringify(KEY)}}\n`) + hosts(), {})).toEqual(
      [],
    );
  });

  it.each(['run', 'cluster'] as const)(
    'refuses a variable of envFrom that would be left out, unseen (%s)',
    (purpose) => {
      const from =
        '  envFrom: [{configMapRef: {name: none}}, {configMapRef: {name: mine}}, {secretRef: {name: hidden}}]\n';
      const mine =
        '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\ndata: {AUTOSSH_POLL: soon, OTHER: x}\n';
      const hidden = (value: string) =>
        `---\napiVersion: v1\nkind: Secret\nmetadata: {name: hidden}\nstringData: {AUTOSSH_MESSAGE: "${value}"}\n`;
      expect(lines(tunnel('orders-db', 5432, from) + mine + hidden('sesamé'), GIVEN, purpose)).toEqual([
        't.yaml:18:59: SshTunnel/orders-db: spec.envFrom[1].configMapRef.name: expected a whole number of seconds, 1-9999 as "AUTOSSH_POLL" of ConfigMap "mine"; got 4 characters that are something else',
        't.yaml:18:86: SshTunnel/orders-db: spec.envFrom[2].secretRef.name: expected at most 64 printable ASCII characters as "AUTOSSH_MESSAGE" of Secret "hidden"; got 6 characters that are something else',
      ]);
      const good = tunnel('orders-db', 5432, from) + mine.replace('soon', '"5"') + hidden('sesame\\n');
      expect(lines(good, GIVEN, purpose)).toEqual([]);
    },
  );

  it('refuses what the API server refuses, each violation with a line of the document', () => {
    for (const { name, yaml } of manifests('refused')) {
      const { violations } = judged(yaml, GIVEN, 'cluster');
      expect([name, violations.length > 0]).toEqual([name, true]);
      const last = yaml.trimEnd().split('\n').length;
      for (const { line, field, expected, got } of violations) {
        expect([name, field, expected !== '', got !== '']).toEqual([name, field, true, true]);
        expect(line).toBeGreaterThan(1);
        expect(line).toBeLessThanOrEqual(last);
      }
    }
  });

  it('tells place, field, expected and got', () => {
    const text = `apiVersion: autossh.dev/v1alpha1
kind: SshTunnel
metadata: {name: orders-db}
spec:
  mode: Both
  ssh:
    port: 70000
    user: Tunnel
    identity: {secretRef: {name: bastion-key}}
    knownHost: {inline: x}
  forwards:
  - name: pg
    local: {listen: {port: "5432"}, target: {host: db.internal, port: 5432}}
  - {name: pg, dynamic: {listen: {port: 1080}}}
`;
    expect(lines(text)).toEqual([
      't.yaml:5:3: SshTunnel/orders-db: spec.mode: expected one of "Sidecar", "Gateway"; got "Both"',
      't.yaml:6:3: SshTunnel/orders-db: spec.ssh.host: expected a string; got nothing',
      't.yaml:6:3: SshTunnel/orders-db: spec.ssh.knownHosts: expected an object; got nothing',
      't.yaml:7:5: SshTunnel/orders-db: spec.ssh.port: expected at most 65535; got 70000',
      't.yaml:8:5: SshTunnel/orders-db: spec.ssh.user: expected a user name: a lower-case letter or _, then letters, digits, ".", "_", "-"; at most 32; got "Tunnel"',
      't.yaml:10:5: SshTunnel/orders-db: spec.ssh.knownHost: expected one of the fields host, port, user, identity, knownHosts, hostKeyAlias, jumpHosts, options; got an unknown field "knownHost"',
      't.yaml:13:22: SshTunnel/orders-db: spec.forwards[0].local.listen.port: expected an integer; got "5432"',
      't.yaml:14:5: SshTunnel/orders-db: spec.forwards[1]: another entry has the same name: give this one its own; got {"name":"pg"}',
    ]);
  });

  it('asks for the objects a tunnel refers to, or for files in their place; not for a cluster', () => {
    expect(lines(tunnel(), {})).toEqual([
      't.yaml:11:9: SshTunnel/orders-db: spec.ssh.identity.secretRef.name: expected Secret "bastion-key" among the files, or --identity PATH in its place; got nothing',
      't.yaml:14:9: SshTunnel/orders-db: spec.ssh.knownHosts.configMapRef.name: expected ConfigMap "bastion-hosts" among the files, or --known-hosts PATH in its place; got nothing',
    ]);
    expect(lines(tunnel(), {}, 'cluster')).toEqual([]);
    expect(lines(tunnel() + secret('stringData: {other: x}\n'))).toEqual([
      't.yaml:10:7: SshTunnel/orders-db: spec.ssh.identity.secretRef.key: expected the key "ssh-privatekey" in Secret "bastion-key"; got nothing',
    ]);
  });

  it('finds names that are given twice', () => {
    expect(lines(`${tunnel()}---\n${tunnel('orders-db', 5433)}${hosts()}${hosts()}`)).toEqual([
      't.yaml:22:3: SshTunnel/orders-db: metadata.name: expected a name that no other SshTunnel has: t.yaml:4 has it; got "orders-db"',
      't.yaml:44:12: ConfigMap/bastion-hosts: metadata.name: expected a name that no other ConfigMap has: t.yaml:39 has it; got "bastion-hosts"',
    ]);
  });

  it('finds listeners of two tunnels that meet on one machine; in a cluster they may be in different pods', () => {
    const two = `${tunnel()}---\n${tunnel('other')}`;
    expect(lines(two)).toEqual([
      't.yaml:35:15: SshTunnel/other: spec.forwards[0].local.listen: expected a place of its own on this machine: forward "pg" of tunnel "orders-db" listens there too; got {"host":"127.0.0.1","port":5432}',
    ]);
    expect(lines(two, GIVEN, 'cluster')).toEqual([]);
  });

  it('runs a gateway as a sidecar: it does not listen on all addresses because nobody said otherwise', () => {
    const [gateway] = manifests('accepted').filter(({ name }) => name === 'gateway');
    const [one] = judged(gateway?.yaml ?? '').tunnels;
    expect(Buffer.from(one?.files.get('config/AUTOSSH_TUNNEL') ?? '').toString()).toContain(
      '"listen":{"host":"127.0.0.1"',
    );
  });

  it('is told a key of which a part is missing, and an encrypted one without its passphrase', () => {
    const key = (cipher: string) =>
      Buffer.from(
        `-----BEGIN OPENSSH PRIVATE KEY-----\n${Buffer.from(`openssh-key-v1\0\0\0\0${String.fromCharCode(cipher.length)}${cipher}${'x'.repeat(90)}`, 'latin1').toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`,
      );
    const [whole, encrypted] = [key('none'), key('aes256-ctr')];
    const of = (bytes: Buffer) => lines(tunnel() + secret(`data: {ssh-privatekey: ${bytes.toString('base64')}}\n`));
    expect(of(whole)).toEqual([]);
    expect(of(whole.subarray(0, 100))).toEqual([
      't.yaml:10:7: SshTunnel/orders-db: spec.ssh.identity.secretRef.key: expected a private key as ssh-keygen writes it as "ssh-privatekey" of Secret "bastion-key", or in the file given for it; got only a part of one: its last line, the END, is not there',
    ]);
    expect(of(encrypted)).toEqual([
      't.yaml:10:7: SshTunnel/orders-db: spec.ssh.identity.secretRef.passphraseKey: expected the key of Secret "bastion-key" that holds the passphrase: "ssh-privatekey" of it is encrypted; got none',
    ]);
  });

  it('is told what is no known_hosts: a key file, a fingerprint, an empty file', () => {
    const of = (text: string) => lines(tunnel() + hosts(`data: {known_hosts: ${JSON.stringify(text)}}\n`));
    const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI';
    for (const good of [
      `h ${key}`,
      `|1|a=|b= ${key} c`,
      `# c\n\n@cert-authority *.h ${key}`,
      ` [h]:22,1.2.3.4\t${key}\r\n`,
    ])
      expect([good, of(good)]).toEqual([good, []]);
    for (const bad of [KEY, `${key} me@here\n`, '256 SHA256:abc h (ED25519)\n', '\n', `#h ${key}\n`, 'h 1024 35 123\n'])
      expect(of(bad)).toEqual([
        `t.yaml:13:7: SshTunnel/orders-db: spec.ssh.knownHosts.configMapRef.key: expected lines of known_hosts (host, type and key) as "known_hosts" of ConfigMap "bastion-hosts", or in the file given for it; got ${bad.length} bytes of something else`,
      ]);
  });

  it('is told a public key, or a text that is no base64, by its place and never by its value', () => {
    expect(lines(tunnel() + secret('stringData: {ssh-privatekey: ssh-ed25519 hunter2}\n'))).toEqual([
      't.yaml:10:7: SshTunnel/orders-db: spec.ssh.identity.secretRef.key: expected a private key as ssh-keygen writes it as "ssh-privatekey" of Secret "bastion-key", or in the file given for it; got 19 characters of something else',
    ]);
    expect(lines(tunnel() + secret('data: {ssh-privatekey: hunter2!}\n'))[0]).toBe(
      't.yaml:10:7: SshTunnel/orders-db: spec.ssh.identity.secretRef.key: expected the key "ssh-privatekey" in Secret "bastion-key"; got nothing',
    );
  });

  it('never echoes a value of a Secret, wherever it stands and whatever is wrong', () => {
    const value = 'hunter2\n';
    const wraps = [
      (text: string) => secret(`data: {ssh-privatekey: "${text}!"}\n`),
      (text: string) => secret(`data: "${text}"\n`),
      (text: string) => secret(`data: {ssh-privatekey: ["${text}"]}\n`),
      (text: string) => secret(`stringData: {ssh-privatekey: {deep: "${text}"}}\n`),
      (text: string) => secret(`stringData: {ssh-privatekey: "${text}"\n`),
      (text: string) => secret(`stringData: {ssh-privatekey: *${text}}\n`),
      (text: string) => secret(`stringData: {ssh-privatekey: !${text} x}\n`),
      (text: string) => secret(`stringData:\n  ssh-privatekey: "x"\n ${text}\n`),
      (text: string) => secret(`stringData: {ssh-privatekey: "x\\q${text}"}\n`),
      (text: string) => secret(`stringData: {ssh-privatekey: @${text}}\n`),
      (text: string) => secret(`%${text}\n`),
      (text: string) => secret(`stringData:\n  ssh-privatekey: - ${text}\n`),
      (text: string) => secret(`stringData:\n\tssh-privatekey: ${text}\n`),
      (text: string) => secret(`stringData: "x" ${text}\n`),
      (text: string) => secret(`stringData: ]${text}\n`),
      (text: string) => `---\napiVersion: v1\nkind: Secrets\n${text}`,
      (text: string) => `---\n${text}\n`,
    ];
    for (const wrap of wraps) {
      const said = JSON.stringify(judged(tunnel() + wrap(value.trim()), {}).violations);
      expect(said).not.toContain('hunter2');
      expect(said).not.toBe('[]');
    }
  });

  it('hides a private key that was put where none belongs', () => {
    const text = tunnel().replace('      secretRef:\n        name: bastion-key', `      ${JSON.stringify(KEY)}`);
    const [first] = lines(text);
    expect(first).toContain('spec.ssh.identity: expected an object; got ');
    expect(first).not.toContain('AAAA');
  });

  it('never throws, whatever the text', () => {
    const piece = fc.constantFrom(
      'kind: ',
      'SshTunnel',
      'apiVersion: v1',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '&a',
      '*a',
      '<<: ',
      'spec',
      ': ',
      '---\n',
      '"',
      '!',
      '[',
      ']',
      'metadata',
      'items',
      'List',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 60 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (yaml) => {
        const { violations } = judged(yaml);
        return violations.map(violationText).length > 0;
      }),
      { numRuns: 2_000 },
    );
  });

  it('says so where there is no tunnel at all', () => {
    expect(lines(hosts())).toEqual(['t.yaml: expected at least one SshTunnel; got none']);
    expect(lines('')).toEqual(['t.yaml: expected at least one SshTunnel; got none']);
  });
});
