import { createHash } from 'node:crypto';
import { execa } from 'execa';
import { findProgram } from '../supervisor/find-program.ts';
import type { Target } from './known-hosts.ts';

/** A host key as the network answered. */
export type HostKey = {
  /** `host` or `[host]:port`. */
  readonly where: string;
  /** `ed25519`, `ecdsa` or `rsa`, as in the names of sshd's key files. */
  readonly shortType: string;
  /** The line of known_hosts. */
  readonly line: string;
  /** In base64. */
  readonly blob: string;
};

export type ScanResult =
  | { readonly ok: true; readonly where: string; readonly keys: readonly HostKey[] }
  | { readonly ok: false; readonly problem: string };

/** Those that OpenSSH still makes, the one to prefer first. */
const TYPES = ['ed25519', 'ecdsa', 'rsa'];
/** Beyond the time ssh-keyscan gives itself for each type of key. */
const GRACE_MS = 5_000;

/** Asks one host for its keys, by ssh-keyscan without a shell; the host has been judged before. */
export const scanHost = async ({ host, port }: Target, timeoutSeconds: number): Promise<ScanResult> => {
  const where = port === 22 ? host : `[${host}]:${port}`;
  const program = findProgram('ssh-keyscan');
  if (program === null) return { ok: false, problem: 'expected ssh-keyscan (of OpenSSH) in PATH; got none' };
  const { stdout, stderr, timedOut } = await execa(
    program,
    ['-T', String(timeoutSeconds), '-p', String(port), '-t', TYPES.join(','), host],
    {
      stdin: 'ignore',
      reject: false,
      timeout: timeoutSeconds * TYPES.length * 1000 + GRACE_MS,
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 20,
    },
  );
  const keys = keysOf(stdout, where);
  if (keys.length > 0) return { ok: true, where, keys };
  return { ok: false, problem: `${where}: ${whyNone(stderr, timedOut, timeoutSeconds)}` };
};

const KEY_LINE = /^\S+ (ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) ([A-Za-z0-9+/]+={0,2})$/;

/** The lines of the answer that are keys, the preferred type first; the name in front is ours, since the answer is the network's. */
const keysOf = (stdout: string, where: string): HostKey[] =>
  stdout
    .split('\n')
    .flatMap((answer) => {
      const [, type, blob] = KEY_LINE.exec(answer) ?? [];
      if (type === undefined || blob === undefined) return [];
      const shortType = type.startsWith('ecdsa') ? 'ecdsa' : type.replace('ssh-', '');
      return [{ where, shortType, line: `${where} ${type} ${blob}`, blob }];
    })
    .sort((a, b) => TYPES.indexOf(a.shortType) - TYPES.indexOf(b.shortType));

const whyNone = (stderr: string, timedOut: boolean, timeoutSeconds: number): string => {
  const said = stderr.trim().split('\n').at(-1) ?? '';
  if (/getaddrinfo|not known|resolve|No address/i.test(said))
    return `expected a name that resolves; ssh-keyscan said: ${said}`;
  const why =
    timedOut || said === ''
      ? `nothing answered within ${timeoutSeconds} s, or the connection was refused: is the port right (HOST:PORT)?`
      : `ssh-keyscan said: ${said}`;
  return `expected an SSH server with a host key of type ${TYPES.join(', ')}; ${why}`;
};

/** `ED25519 SHA256:…`, as `ssh-keygen -l` and ssh show it. */
export const fingerprint = ({ shortType, blob }: HostKey): string => {
  const digest = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '');
  return `${shortType.toUpperCase()} SHA256:${digest}`;
};
