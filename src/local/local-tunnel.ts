import { configMapData, type TunnelVolume, volumesOf } from '../api/hand-over.ts';
import { MOUNT_ROOT, SLOT_FILES } from '../api/mounts.ts';
import type { FieldError } from '../api/parse.ts';
import { RESIDENT_ENV, RESIDENT_ENV_NAMES, residentEnvProblem } from '../api/resident-env.ts';
import type { SshTunnel } from '../api/ssh-tunnel.ts';
import { isEncryptedKey, readKeyText } from '../tunnel/key-text.ts';

/** Files that were named on the command line, in place of Secrets and ConfigMaps that are not there. */
export type Given = {
  readonly identity?: { readonly path: string; readonly key: Uint8Array; readonly certificate?: Uint8Array };
  readonly knownHosts?: { readonly path: string; readonly lines: Uint8Array };
};

/** What a ConfigMap or Secret holds, by kind and name; undefined where there is none. */
export type LookUp = (kind: 'ConfigMap' | 'Secret', name: string) => ReadonlyMap<string, Uint8Array> | undefined;

/** The files that a supervisor finds mounted in its container, by their path below the mount root. */
export type LocalFiles = ReadonlyMap<string, Uint8Array>;

/**
 * The tunnel as it runs on a machine of its own: always as a sidecar. A gateway would listen on all addresses of a laptop because nobody
 * said otherwise; here as there a listen.host that is written counts.
 */
export const asLocal = (tunnel: SshTunnel): SshTunnel => ({
  ...tunnel,
  spec: { ...tunnel.spec, mode: 'Sidecar', gateway: undefined },
});

/** The volumes of the tunnel's container as plain files, and what is missing for them, each with the field that asks for it. */
export const localFiles = (
  tunnel: SshTunnel,
  lookUp: LookUp,
  given: Given,
): { readonly files: LocalFiles; readonly errors: readonly FieldError[] } => {
  const files = new Map<string, Uint8Array>();
  const errors: FieldError[] = [];
  const put = ({ mountPath }: TunnelVolume, name: string, content: Uint8Array) =>
    files.set(`${mountPath.slice(MOUNT_ROOT.length + 1)}/${name}`, content);
  for (const volume of volumesOf(tunnel)) {
    const data = volume.name === 'config' ? ownConfigMap(tunnel) : lookUp(volume.kind, volume.objectName);
    const stand = data === undefined ? standIn(volume, given) : undefined;
    for (const { key, path } of volume.items) {
      const content = data?.get(key) ?? stand?.get(path);
      if (content !== undefined) put(volume, path, content);
      const error = isNeeded(volume)
        ? problemOf(volume, { key, path }, data !== undefined, content)
        : variableProblem(volume, key, content);
      if (error !== null) errors.push(error);
      if (error !== null && data === undefined) break;
    }
  }
  return { files, errors };
};

const ownConfigMap = (tunnel: SshTunnel): ReadonlyMap<string, Uint8Array> =>
  new Map(Object.entries(configMapData(tunnel)).map(([key, text]) => [key, Buffer.from(text)]));

/** What came by the command line serves every login whose Secret or ConfigMap is not among the files. */
const standIn = (
  { name }: TunnelVolume,
  { identity, knownHosts }: Given,
): ReadonlyMap<string, Uint8Array> | undefined => {
  if (isIdentity(name) && identity !== undefined)
    return new Map([
      [SLOT_FILES.key, identity.key],
      ...(identity.certificate === undefined ? [] : ([[SLOT_FILES.certificate, identity.certificate]] as const)),
    ]);
  if (isKnownHosts(name) && knownHosts !== undefined) return new Map([[SLOT_FILES.knownHosts, knownHosts.lines]]);
  return undefined;
};

const isIdentity = (volume: string) => volume.startsWith('identity-');
const isKnownHosts = (volume: string) => volume.startsWith('known-hosts-');
/** Sources of envFrom may be missing, here as in a cluster. */
const isNeeded = ({ name }: TunnelVolume) => isIdentity(name) || isKnownHosts(name);

const problemOf = (
  volume: TunnelVolume,
  { key, path }: { key: string; path: string },
  isThere: boolean,
  content: Uint8Array | undefined,
): FieldError | null => {
  const object = `${volume.kind} "${volume.objectName}"`;
  const field = `${ownerOf(volume.name)}.${isIdentity(volume.name) ? 'identity.secretRef' : `knownHosts.${volume.kind === 'Secret' ? 'secretRef' : 'configMapRef'}`}`;
  if (content !== undefined) {
    const hasPassphrase = volume.items.some((one) => one.path === SLOT_FILES.passphrase);
    return contentProblem(field, object, key, path, content, hasPassphrase);
  }
  if (isThere)
    return {
      field: `${field}.${KEY_FIELD[path] ?? 'key'}`,
      problem: 'Not found',
      got: 'nothing',
      message: `expected the key "${key}" in ${object}`,
    };
  const option = isIdentity(volume.name) ? '--identity PATH' : '--known-hosts PATH';
  const what = path === SLOT_FILES.certificate ? 'a certificate beside it, PATH-cert.pub' : `${option} in its place`;
  return path === SLOT_FILES.passphrase
    ? {
        field,
        problem: 'Not found',
        got: 'nothing',
        message: `expected ${object} among the files, since the key has a passphrase`,
      }
    : {
        field: `${field}.name`,
        problem: 'Not found',
        got: 'nothing',
        message: `expected ${object} among the files, or ${what}`,
      };
};

/** In a pod a variable that makes no sense is left out, with a warning in the log. Here its author is at hand, and is told. */
const variableProblem = (
  { name: volume, kind, objectName }: TunnelVolume,
  key: string,
  content: Uint8Array | undefined,
): FieldError | null => {
  const [name, index] = [RESIDENT_ENV_NAMES.find((one) => one === key), /^env-(\d+)$/.exec(volume)?.[1]];
  if (name === undefined || index === undefined || content === undefined) return null;
  const value = Buffer.from(content).toString('utf8').replace(/\n$/, '');
  if (residentEnvProblem(name, value) === null) return null;
  return {
    field: `spec.envFrom[${index}].${kind === 'Secret' ? 'secretRef' : 'configMapRef'}.name`,
    problem: 'Invalid value',
    got: `${value.length} characters that are something else`,
    message: `expected ${RESIDENT_ENV[name].expected} as "${key}" of ${kind} "${objectName}"`,
  };
};

const KEY_FIELD: Readonly<Record<string, string>> = {
  [SLOT_FILES.passphrase]: 'passphraseKey',
  [SLOT_FILES.certificate]: 'certificateKey',
};

const ownerOf = (volume: string): string => {
  const hop = /-hop-(\d)$/.exec(volume)?.[1];
  return hop === undefined ? 'spec.ssh' : `spec.ssh.jumpHosts[${Number(hop) - 1}]`;
};

/** A line of known_hosts, with a marker or none: neither a key file is one nor a fingerprint. */
const KNOWN_HOST = /^[ \t]*(?:@[a-z-]+[ \t]+)?[^#@\s]\S*[ \t]+(?:ssh-|ecdsa-sha2-|sk-)\S+[ \t]+AAAA/m;

/** What ssh would refuse later, in words that are easier to follow. Nothing of the content is in them. */
const contentProblem = (
  field: string,
  object: string,
  key: string,
  path: string,
  content: Uint8Array,
  hasPassphrase: boolean,
): FieldError | null => {
  const text = Buffer.from(content).toString('latin1');
  const wrong = (expected: string, got = `${content.length} bytes of something else`): FieldError => ({
    field: `${field}.${KEY_FIELD[path] ?? 'key'}`,
    problem: 'Invalid value',
    got,
    message: `expected ${expected} as "${key}" of ${object}, or in the file given for it`,
  });
  if (path === SLOT_FILES.key) {
    const privateKey = readKeyText(text);
    if (!privateKey.ok) return wrong('a private key as ssh-keygen writes it', privateKey.problem);
    if (isEncryptedKey(privateKey.text) && !hasPassphrase)
      return {
        ...{ field: `${field}.passphraseKey`, problem: 'Required value', got: 'none' },
        message: `expected the key of ${object} that holds the passphrase: "${key}" of it is encrypted`,
      };
  }
  if (path === SLOT_FILES.certificate && !/^\S+-cert-v01@openssh\.com /m.test(text))
    return wrong('an OpenSSH certificate');
  if (path === SLOT_FILES.knownHosts && !KNOWN_HOST.test(text))
    return wrong('lines of known_hosts (host, type and key)');
  return null;
};
