import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SLOTS, type Slot, type TunnelDocument } from '../api/document.ts';
import { identityDir, knownHostsDir, MOUNT_ROOT, SLOT_FILES } from '../api/mounts.ts';
import { type Certificate, certificateFailure } from '../tunnel/certificate.ts';
import { readKeyText } from '../tunnel/key-text.ts';
import type { Failure } from '../tunnel/machine.ts';
import type { LoginFiles, Places } from '../tunnel/ssh-args.ts';
import type { Env } from './child-env.ts';
import { type Inspected, type InspectedKey, inspectCertificate, inspectKey } from './inspect-key.ts';
import { type AgentKey, createKeyAgent } from './key-agent.ts';

export type PreparedLogins =
  | {
      readonly ok: true;
      readonly places: Places /** What is offered, for a server that refuses it. */;
      readonly offer: string;
    }
  | { readonly ok: false; readonly failure: Failure };

/** The files of a tunnel's logins, put where ssh accepts them. */
export type Logins = {
  /**
   * Makes the files of every login ready for the next ssh, read anew, so that a rotated key serves the next connection. Whatever is wrong
   * with one is a failure with its reason; nothing of a key's or a passphrase's content is ever in it. What was found is kept by
   * content: asking again costs nothing while nothing has changed. One at a time.
   */
  readonly prepare: (document: TunnelDocument) => Promise<PreparedLogins>;
  /** Ends the agent. */
  readonly close: () => void;
};

export type LoginsOptions = {
  /** A private directory in memory: keys are copied to it with mode 0600, since ssh refuses the 0444 of a mounted Secret. */
  readonly dir: string;
  /** Where the volumes are mounted. */
  readonly root?: string;
  readonly env: Env;
};

export const createLogins = ({ dir, root = MOUNT_ROOT, env }: LoginsOptions): Logins => {
  const agent = createKeyAgent(dir, env);
  const keys = remembering<InspectedKey>();
  const certificates = remembering<Certificate>();
  let isClosed = false;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  chmodSync(dir, 0o700);

  const source = (slot: Slot, name: keyof typeof SLOT_FILES): string => {
    const place = name === 'knownHosts' ? knownHostsDir(slot) : identityDir(slot);
    return join(root + place.slice(MOUNT_ROOT.length), SLOT_FILES[name]);
  };
  const put = (name: string, content: string): string => {
    const path = join(dir, name);
    if (isClosed) throw new Stopped();
    // A new file each time: the mode is that of its making.
    rmSync(path, { force: true });
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };

  const login = async (identity: TunnelDocument['identities'][number]): Promise<Login> => {
    const { slot } = identity;
    const keySource = source(slot, 'key');
    const stored = read(keySource);
    if (stored === null)
      throw new Wrong('IdentityMissing', `login ${slot}: expected a private key at ${keySource}; got nothing`);
    const key = readKeyText(stored);
    if (!key.ok)
      throw new Wrong('IdentityInvalid', `login ${slot}: expected a private key at ${keySource}; got ${key.problem}`);
    const file = put(`${slot}.key`, key.text);
    const passphrase = identity.passphrase ? read(source(slot, 'passphrase')) : null;
    const { publicKey, fingerprint, isEncrypted } = await keys(slot, `${key.text}\0${passphrase}`, () => {
      if (identity.passphrase && passphrase === null) return withoutPassphrase(file, source(slot, 'passphrase'));
      return inspectKey(file, passphrase, { dir, env });
    });
    const files = isEncrypted
      ? { identityFile: put(`${slot}.key.pub`, `${publicKey}\n`), identityAgent: agent.socket }
      : { identityFile: file };
    const agentKey = isEncrypted && passphrase !== null ? { file, publicKey, passphrase } : null;
    if (!identity.certificate) return { slot, files, agentKey, offer: fingerprint };

    const certificateSource = source(slot, 'certificate');
    const signed = read(certificateSource);
    if (signed === null)
      throw new Wrong('IdentityMissing', `login ${slot}: expected a certificate at ${certificateSource}; got nothing`);
    const certificateFile = put(`${slot}.key-cert.pub`, `${signed.trim()}\n`);
    const certificate = await certificates(slot, signed, () => inspectCertificate(certificateFile, env));
    const failure = certificateFailure(certificate, fingerprint, Date.now());
    if (failure !== null) throw new Wrong(failure.reason, `login ${slot}: ${failure.detail}`);
    const names = certificate.principals.join(', ') || 'nobody';
    return { slot, files: { ...files, certificateFile }, agentKey, offer: `${fingerprint}, certified for ${names}` };
  };

  /** A key that needs no passphrase needs no file of one either. */
  const withoutPassphrase = async (file: string, expected: string): Promise<Inspected<InspectedKey>> => {
    const found = await inspectKey(file, null, { dir, env });
    if (found.ok || found.failure.reason !== 'IdentityInvalid') return found;
    return {
      ok: false,
      failure: { reason: 'PassphraseWrong', detail: `expected a passphrase at ${expected}; got nothing` },
      isCertain: true,
    };
  };

  const hosts = ({ knownHosts }: TunnelDocument): Places['knownHosts'] => {
    const files: Partial<Record<Slot, string>> = {};
    for (const { slot, source: kind, inline } of knownHosts) {
      if (kind === 'Insecure') continue;
      const path = source(slot, 'knownHosts');
      const text = kind === 'Inline' ? (inline ?? '') : read(path);
      if (text === null)
        throw new Wrong('HostKeyUnknown', `login ${slot}: expected known_hosts at ${path}; got nothing`);
      files[slot] = put(`${slot}.known_hosts`, text.endsWith('\n') ? text : `${text}\n`);
    }
    return files;
  };

  const forgetOthers = (slots: readonly Slot[]) => {
    for (const slot of SLOTS.filter((one) => !slots.includes(one)))
      for (const name of ['key', 'key.pub', 'key-cert.pub']) rmSync(join(dir, `${slot}.${name}`), { force: true });
  };

  const prepare = async (document: TunnelDocument): Promise<PreparedLogins> => {
    forgetOthers(document.identities.map(({ slot }) => slot));
    const all: Login[] = [];
    for (const identity of document.identities) all.push(await login(identity));
    const problem = await agent.hold(all.flatMap(({ agentKey }) => agentKey ?? []));
    if (problem !== null) throw new Wrong(problem.reason, problem.detail);
    const logins = Object.fromEntries(all.map(({ slot, files }) => [slot, files]));
    const offer = all.map(({ slot, offer }) => `login ${slot}: ${offer}`).join('; ');
    return { ok: true, offer, places: { logins, knownHosts: hosts(document), configFile: join(dir, 'ssh_config') } };
  };

  let last: Promise<unknown> = Promise.resolve();
  return {
    prepare: (document) => {
      const mine = last.then(() => prepare(document)).catch(explain);
      last = mine;
      return mine;
    },
    close: () => {
      isClosed = true;
      agent.stop();
    },
  };
};

type Login = {
  readonly slot: Slot;
  readonly files: LoginFiles;
  readonly agentKey: AgentKey | null;
  readonly offer: string;
};

/** Ends a preparation with its failure. */
class Wrong extends Error {
  readonly failure: Failure;
  constructor(reason: Failure['reason'], detail: string) {
    super(detail);
    this.failure = { reason, detail };
  }
}

/** There is nothing more to prepare. */
class Stopped extends Error {}

const explain = (problem: unknown): PreparedLogins => {
  if (problem instanceof Wrong) return { ok: false, failure: problem.failure };
  // Whatever the file system or a tool refuses is no reason to end.
  return { ok: false, failure: { reason: 'BadConfiguration', detail: (problem as Error).message } };
};

/** Asks once for each content of a slot. Only its hash is kept. */
const remembering = <T>() => {
  const known = new Map<Slot, { readonly hash: string; readonly found: Inspected<T> }>();
  return async (slot: Slot, content: string, ask: () => Promise<Inspected<T>>): Promise<T> => {
    const hash = createHash('sha256').update(content).digest('hex');
    const before = known.get(slot);
    const found = before?.hash === hash ? before.found : await ask();
    if (found.ok || found.isCertain) known.set(slot, { hash, found });
    if (found.ok) return found.value;
    throw new Wrong(found.failure.reason, `login ${slot}: ${found.failure.detail}`);
  };
};

const read = (path: string): string | null => {
  try {
    const text = readFileSync(path, 'utf8');
    return text.trim() === '' ? null : text;
  } catch {
    return null;
  }
};
