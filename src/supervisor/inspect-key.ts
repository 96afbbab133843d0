import { createHash } from 'node:crypto';
import { type Certificate, readCertificate } from '../tunnel/certificate.ts';
import type { Failure } from '../tunnel/machine.ts';
import { askTool, type ToolAnswer } from './ask-tool.ts';
import { withPassphrase } from './askpass.ts';
import type { Env } from './child-env.ts';

export type InspectedKey = {
  /** Type and base64, as a line of authorized_keys begins. */
  readonly publicKey: string;
  readonly fingerprint: string;
  readonly isEncrypted: boolean;
};

/** What an inspection found; `isCertain` is false where it could not be made, so that it is worth asking again. */
export type Inspected<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure; readonly isCertain: boolean };

/**
 * Opens a private key, of mode 0600, as ssh would: ssh itself says "Permission denied" for whatever is wrong with one. `passphrase`
 * is null where none was given.
 */
export const inspectKey = async (
  file: string,
  passphrase: string | null,
  { dir, env }: { dir: string; env: Env },
): Promise<Inspected<InspectedKey>> => {
  const plain = await askTool('ssh-keygen', ['-y', '-P', '', '-f', file], env);
  if (!plain.ran) return unable(plain);
  if (plain.code === 0) return found(plain.output, false);
  if (!NEEDS_PASSPHRASE.test(plain.problem)) return failed('IdentityInvalid', `ssh-keygen: ${words(plain, file)}`);
  if (passphrase === null) return failed('IdentityInvalid', 'the key has a passphrase: name it, passphraseKey');
  const opened = await withPassphrase(dir, passphrase, env, (asking) =>
    askTool('ssh-keygen', ['-y', '-f', file], asking),
  );
  if (!opened.ran) return unable(opened);
  if (opened.code === 0) return found(opened.output, true);
  if (NEEDS_PASSPHRASE.test(opened.problem)) return failed('PassphraseWrong', 'the passphrase does not open the key');
  return { ...failed('IdentityInvalid', `ssh-keygen: ${words(opened, file)}`), isCertain: false };
};

/** Reads a certificate. */
export const inspectCertificate = async (file: string, env: Env): Promise<Inspected<Certificate>> => {
  const said = await askTool('ssh-keygen', ['-L', '-f', file], { ...env, TZ: 'UTC' });
  if (!said.ran) return unable(said);
  const certificate = said.code === 0 ? readCertificate(said.output) : null;
  return certificate === null
    ? failed('IdentityInvalid', 'expected a certificate as ssh-keygen -s writes it; got something else')
    : { ok: true, value: certificate };
};

const NEEDS_PASSPHRASE = /incorrect passphrase supplied/;

const found = (output: string, isEncrypted: boolean): Inspected<InspectedKey> => {
  const [type = '', blob = ''] = output.split(' ');
  const hash = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '');
  return { ok: true, value: { publicKey: `${type} ${blob.trim()}`, fingerprint: `SHA256:${hash}`, isEncrypted } };
};

/** ssh-keygen names the file, which is a copy that nobody knows. */
const words = ({ problem }: { problem: string }, file: string): string =>
  problem.replace(`Load key "${file}": `, '').replaceAll(file, 'the key');

const failed = (reason: Failure['reason'], detail: string) =>
  ({ ok: false, failure: { reason, detail }, isCertain: true }) as const;

const unable = ({ problem }: Extract<ToolAnswer, { ran: false }>) =>
  ({ ok: false, failure: { reason: 'BadConfiguration', detail: problem }, isCertain: false }) as const;
