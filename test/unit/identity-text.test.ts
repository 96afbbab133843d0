import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { certificateFailure, readCertificate } from '../../src/tunnel/certificate.ts';
import { isEncryptedKey, readKeyText } from '../../src/tunnel/key-text.ts';

const KEY = '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\nBBBB\n-----END OPENSSH PRIVATE KEY-----\n';

describe('the text of a stored key', () => {
  it.each([
    ['as ssh-keygen wrote it', KEY],
    ["with Windows' ends of line", KEY.replaceAll('\n', '\r\n')],
    ["with an old Mac's", KEY.replaceAll('\n', '\r')],
    ['without its last end of line', KEY.trimEnd()],
    ['with blank lines around', `\n\n${KEY}\n\n`],
    ['with a byte order mark', `\uFEFF${KEY}`],
  ])('is read %s', (_how, stored) => {
    expect(readKeyText(stored)).toEqual({ ok: true, text: KEY });
  });

  it.each([
    ['a public key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMso test', 'a public key'],
    ['a public key of PEM', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n', 'a public key'],
    ['a certificate', 'ssh-ed25519-cert-v01@openssh.com AAAA test', 'certificateKey'],
    ['a key of PuTTY', 'PuTTY-User-Key-File-3: ssh-ed25519\n', 'PuTTY'],
    ['base64 twice', Buffer.from(KEY).toString('base64'), 'base64'],
    ['written-out ends of line', KEY.trimEnd().replaceAll('\n', '\\n'), '"\\n" written out'],
    ['a key without its end', KEY.split('\n').slice(0, 2).join('\n'), 'only a part'],
    ['one that ends as another', KEY.replace('END OPENSSH', 'END RSA'), 'only a part'],
    ['something else', 'hunter2', '7 characters of something else'],
    ['too much', KEY.replace('AAAA', 'A'.repeat(70_000)), 'characters of something else'],
  ])('is told from %s', (_what, stored, said) => {
    expect(readKeyText(stored)).toMatchObject({ ok: false, problem: expect.stringContaining(said) as string });
  });

  it.each([
    ['none', false],
    ['aes256-ctr', true],
    ['chacha20-poly1305@openssh.com', true],
  ])('is encrypted or not by its cipher: %s', (cipher, isEncrypted) => {
    const body = Buffer.concat([
      Buffer.from(`openssh-key-v1\0\0\0\0${String.fromCharCode(cipher.length)}${cipher}`, 'latin1'),
      Buffer.alloc(600, 7),
    ]).toString('base64');
    const wrapped = body.replace(/.{70}/g, '$&\n');
    const key = `-----BEGIN OPENSSH PRIVATE KEY-----\n${wrapped}\n-----END OPENSSH PRIVATE KEY-----\n`;
    expect(isEncryptedKey(key)).toBe(isEncrypted);
  });

  it('is encrypted or not by what PEM says', () => {
    const pem = (head: string, more = '') => `-----BEGIN ${head}-----\n${more}AAAA\n-----END ${head}-----\n`;
    expect(isEncryptedKey(pem('ENCRYPTED PRIVATE KEY'))).toBe(true);
    expect(isEncryptedKey(pem('RSA PRIVATE KEY', 'Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n'))).toBe(true);
    for (const head of ['PRIVATE KEY', 'RSA PRIVATE KEY', 'OPENSSH PRIVATE KEY'])
      expect(isEncryptedKey(pem(head))).toBe(false);
  });

  it('is never shown', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12, unit: fc.constantFrom(...'QRSTUVWXYZ') }), (secret) => {
        for (const text of [secret, `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret}`, `ssh-rsa AAAA${secret}`]) {
          const read = readKeyText(text);
          expect(read.ok ? '' : read.problem).not.toContain(secret);
        }
      }),
    );
  });
});

/** What ssh-keygen -L of OpenSSH 9.2 said, with TZ=UTC. */
const said = (valid: string, principals = '\n                tunnel\n                ops') => `k-cert.pub:
        Type: ssh-ed25519-cert-v01@openssh.com user certificate
        Public key: ED25519-CERT SHA256:gvojhZJcQyIr2GuJFQ2ehwh5aZcLrBf2chVS68L6/NM
        Signing CA: ED25519 SHA256:XYFj2rGZLf613Y5PKQewd1560/AIgYK5hSVhX0OY1pI (using ssh-ed25519)
        Key ID: "Valid: from 1999-01-01T00:00:00 to 1999-01-02T00:00:00"
        Serial: 0
        Valid: ${valid}
        Principals: ${principals}
        Critical Options: (none)
        Extensions: 
                permit-pty
`;

describe('a certificate', () => {
  const own = 'SHA256:gvojhZJcQyIr2GuJFQ2ehwh5aZcLrBf2chVS68L6/NM';
  const noon = Date.parse('2026-11-24T12:00:00Z');
  const judge = (text: string, key = own) => {
    const certificate = readCertificate(text);
    if (certificate === null) throw new Error(`expected a certificate in: ${text}`);
    return certificateFailure(certificate, key, noon)?.reason ?? null;
  };

  it('is read as ssh-keygen shows it', () => {
    expect(readCertificate(said('from 2026-11-24T10:29:24 to 2026-11-24T12:29:24'))).toEqual({
      isForUsers: true,
      fingerprint: own,
      validFrom: Date.parse('2026-11-24T10:29:24Z'),
      validUntil: Date.parse('2026-11-24T12:29:24Z'),
      principals: ['tunnel', 'ops'],
    });
    expect(readCertificate(said('forever', '(none)'))).toMatchObject({ principals: [], validUntil: Infinity });
    expect(readCertificate('k is not a public key file.')).toBeNull();
  });

  it.each([
    ['forever', null],
    ['from 2026-11-24T11:00:00 to 2026-11-24T12:00:01', null],
    ['from 2026-11-24T11:00:00 to 2026-11-24T12:00:00', 'CertificateExpired'],
    ['from 2026-11-24T12:00:01 to 2026-11-24T13:00:00', 'CertificateExpired'],
    ['after 2026-11-24T12:00:01', 'CertificateExpired'],
    ['after 2026-11-24T11:00:00', null],
    ['before 2026-11-24T11:00:00', 'CertificateExpired'],
    ['before 2026-11-24T13:00:00', null],
  ])('valid %s, at noon of that day: %s', (valid, reason) => {
    expect(judge(said(valid))).toBe(reason);
  });

  it('must be one of this key, and for users', () => {
    expect(judge(said('forever'), 'SHA256:another')).toBe('IdentityInvalid');
    expect(judge(said('forever').replace('user certificate', 'host certificate'))).toBe('IdentityInvalid');
  });
});
