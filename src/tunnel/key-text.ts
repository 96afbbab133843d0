/** The text of a private key as ssh reads it, or what is the matter with it; never a word of its content. */
export type KeyText = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly problem: string };

/** A private key is a few KiB; whatever is much larger is something else. */
const MOST_CHARACTERS = 65_536;

/** What people store in place of a private key, and how each is known; the first that fits is said. */
const SOMETHING_ELSE: readonly (readonly [words: RegExp, what: string])[] = [
  [/^PuTTY-User-Key-File-/, "a key in PuTTY's format: convert it, puttygen KEY -O private-openssh"],
  [/^\S+-cert-v01@openssh\.com /, 'a certificate, which goes beside the key (certificateKey)'],
  [/^(?:ssh-|ecdsa-sha2-|sk-)\S+ AAAA/, 'a public key: the private one is the file without .pub'],
  [/^(?:-----BEGIN (?:\w+ )?PUBLIC KEY-----|---- BEGIN SSH2 PUBLIC KEY ----)/, 'a public key'],
  [/^-----BEGIN CERTIFICATE-----/, 'a certificate of X.509, which ssh knows nothing of'],
  [/^LS0tLS1CRUdJTi/, 'a key in base64: it was encoded once more than a Secret asks for'],
  [/^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\\n/, 'a key with "\\n" written out in place of its ends of line'],
];

/**
 * Makes a stored key what ssh reads: ends of line as Unix has them, one at the end, no byte order mark; ssh says "error in libcrypto"
 * for each of those. What is no private key, or not a whole one, is told apart by its first and last line.
 */
export const readKeyText = (stored: string): KeyText => {
  const text = `${stored
    .replace(/^\uFEFF/, '')
    .replace(/\r\n?/g, '\n')
    .trim()}\n`;
  if (text.length > MOST_CHARACTERS) return bad(`${stored.length} characters of something else`);
  const other = SOMETHING_ELSE.find(([words]) => words.test(text));
  if (other !== undefined) return bad(other[1]);
  const begin = /^-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----\n/.exec(text)?.[1];
  if (begin === undefined) return bad(`${stored.length} characters of something else`);
  if (!text.endsWith(`\n-----END ${begin}-----\n`))
    return bad('only a part of one: its last line, the END, is not there');
  return { ok: true, text };
};

/** "openssh-key-v1\0" in base64, and what follows without encryption: the length of a name, and "none" but for its last bits. */
const [OPENSSH_KEY, NO_CIPHER] = ['b3BlbnNzaC1rZXktdjEA', 'AAAABG5vbm'];

/**
 * Whether a private key that readKeyText() took needs a passphrase: by PEM's headers, or by the name of the cipher with which OpenSSH's
 * own format begins (PROTOCOL.key).
 */
export const isEncryptedKey = (text: string): boolean => {
  if (/^(?:-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED)$/m.test(text)) return true;
  const [, body = ''] = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([^-]*)/.exec(text) ?? [];
  return body.startsWith(OPENSSH_KEY) && !body.startsWith(`${OPENSSH_KEY}${NO_CIPHER}`);
};

const bad = (problem: string): KeyText => ({ ok: false, problem });
