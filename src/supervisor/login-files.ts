import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Slot, TunnelDocument } from '../api/document.ts';
import { identityDir, knownHostsDir, MOUNT_ROOT, SLOT_FILES } from '../api/mounts.ts';
import type { Failure } from '../tunnel/machine.ts';
import type { LoginFiles, Places } from '../tunnel/ssh-args.ts';

export type PreparedLogins =
  | { readonly ok: true; readonly places: Places }
  | { readonly ok: false; readonly failure: Failure };

/** A private key is a few KiB; whatever is much larger is something else. */
const MOST_KEY_BYTES = 65_536;

/**
 * Puts the files of every login where ssh accepts them: keys as copies of mode 0600 in a private directory (ssh refuses the 0444 of a
 * mounted Secret), inline known_hosts as files. Read anew for each start of ssh, so that a rotated key serves the next connection.
 * What is missing or is plainly no key is a failure with its reason; nothing of a key's content is ever in it. `root`: where the volumes are mounted.
 */
export const prepareLogins = (document: TunnelDocument, dir: string, root: string = MOUNT_ROOT): PreparedLogins => {
  const under = (path: string) => root + path.slice(MOUNT_ROOT.length);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  chmodSync(dir, 0o700);
  const logins: Partial<Record<Slot, LoginFiles>> = {};
  for (const { slot, certificate, passphrase } of document.identities) {
    if (passphrase)
      return failed('BadConfiguration', `login ${slot}: a key with a passphrase is not supported by this version yet`);
    const source = join(under(identityDir(slot)), SLOT_FILES.key);
    const key = read(source);
    if (key === null)
      return failed('IdentityMissing', `login ${slot}: expected a private key at ${source}; got nothing`);
    if (key.length > MOST_KEY_BYTES || !/^-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/m.test(key))
      return failed(
        'IdentityInvalid',
        `login ${slot}: expected a private key as ssh-keygen writes it at ${source}; got ${key.length} bytes of something else`,
      );
    const identityFile = write(dir, `${slot}.key`, key.endsWith('\n') ? key : `${key}\n`);
    if (!certificate) {
      logins[slot] = { identityFile };
      continue;
    }
    const certificateSource = join(under(identityDir(slot)), SLOT_FILES.certificate);
    const signed = read(certificateSource);
    if (signed === null)
      return failed('IdentityMissing', `login ${slot}: expected a certificate at ${certificateSource}; got nothing`);
    logins[slot] = { identityFile, certificateFile: write(dir, `${slot}.key-cert.pub`, signed) };
  }
  const knownHosts: Partial<Record<Slot, string>> = {};
  for (const { slot, source, inline } of document.knownHosts) {
    if (source === 'Insecure') continue;
    const path = join(under(knownHostsDir(slot)), SLOT_FILES.knownHosts);
    const text = source === 'Inline' ? (inline ?? '') : read(path);
    if (text === null) return failed('HostKeyUnknown', `login ${slot}: expected known_hosts at ${path}; got nothing`);
    knownHosts[slot] = write(dir, `${slot}.known_hosts`, text.endsWith('\n') ? text : `${text}\n`);
  }
  return { ok: true, places: { logins, knownHosts, configFile: join(dir, 'ssh_config') } };
};

const failed = (reason: Failure['reason'], detail: string): PreparedLogins => ({
  ok: false,
  failure: { reason, detail },
});

const read = (path: string): string | null => {
  try {
    const text = readFileSync(path, 'utf8');
    return text.trim() === '' ? null : text;
  } catch {
    return null;
  }
};

const write = (dir: string, name: string, content: string): string => {
  const path = join(dir, name);
  writeFileSync(path, content, { mode: 0o600 });
  chmodSync(path, 0o600);
  return path;
};
