import { stringify } from 'yaml';
import { API_VERSION } from '../api/names.ts';
import { host as hostSchema, objectName } from '../api/text.ts';
import { fingerprint, type HostKey, type ScanResult, scanHost } from './scan-host.ts';

export type KnownHostsOptions = {
  /** `HOST`, `HOST:PORT`, `[IPv6]`, `[IPv6]:PORT`. */
  readonly hosts: readonly string[];
  /** Name of the ConfigMap. */
  readonly name: string;
  readonly namespace?: string | undefined;
  /** How long a host may take to answer. */
  readonly timeoutSeconds: number;
};

type Output = { readonly out: string; readonly err: string; readonly code: number };

/**
 * Asks hosts for their host keys (ssh-keyscan) and makes a ConfigMap of them, for `kubectl apply -f -`. What the network answers proves
 * nothing: the fingerprints, and how to compare them at the server, go to stderr and into comments. What to write to stdout and stderr,
 * and the exit code: 1 where any host gave no key, 2 where an argument makes no sense.
 */
export const knownHosts = async (options: KnownHostsOptions): Promise<Output> => {
  const targets = options.hosts.map(parseTarget);
  const wrong = targets.flatMap((target) => ('problem' in target ? [target.problem] : []));
  if (!objectName().safeParse(options.name).success)
    wrong.push(
      `--name: expected the name of a ConfigMap: lower-case letters, digits, "-" and "."; got ${JSON.stringify(options.name)}`,
    );
  if (options.namespace !== undefined && !objectName().safeParse(options.namespace).success)
    wrong.push(
      `--namespace: expected a name of lower-case letters, digits and "-"; got ${JSON.stringify(options.namespace)}`,
    );
  if (wrong.length > 0) return { out: '', err: wrong.map((line) => `${line}\n`).join(''), code: 2 };
  const results = await Promise.all(
    targets.flatMap((target) => ('problem' in target ? [] : [scanHost(target, options.timeoutSeconds)])),
  );
  const failed = results.flatMap((one) => (one.ok ? [] : [`${one.problem}\n`]));
  if (failed.length > 0) return { out: '', err: failed.join(''), code: 1 };
  const keys = results.flatMap((one) => (one.ok ? one.keys : []));
  return { out: manifest(options, results, keys), err: advice(keys), code: 0 };
};

export type Target = { readonly host: string; readonly port: number };

/** The host is judged by the rules of the schema: so none starts with a dash, or has a blank or a user in it. */
export const parseTarget = (text: string): Target | { readonly problem: string } => {
  const found = /^\[([^\]]+)\](?::(\d{1,5}))?$|^([^:]+)(?::(\d{1,5}))?$/.exec(text);
  // An IPv6 address alone needs no brackets.
  const host = found?.[1] ?? found?.[3] ?? text;
  const port = Number(found?.[2] ?? found?.[4] ?? '22');
  if (!hostSchema().safeParse(host).success || port < 1 || port > 65_535)
    return {
      problem: `${JSON.stringify(text)}: expected HOST, HOST:PORT or [IPv6]:PORT, where HOST is a DNS name or an IP address without user, and PORT is 1-65535`,
    };
  return { host, port };
};

const manifest = (
  { name, namespace }: KnownHostsOptions,
  results: readonly ScanResult[],
  keys: readonly HostKey[],
): string => {
  const lines = keys.map(({ line }) => `${line}\n`).join('');
  const object = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    data: { known_hosts: lines },
  };
  const comments = results.flatMap((one) =>
    one.ok ? [`# ${one.where}:`, ...one.keys.map((key) => `#   ${fingerprint(key)}`)] : [],
  );
  return [
    `# Host keys as the network answered, not yet verified. For ${API_VERSION} SshTunnels: knownHosts.configMapRef.name: ${name}`,
    ...comments,
    stringify(object, { lineWidth: 0, blockQuote: 'literal' }),
  ].join('\n');
};

/** The file of each type's public key, as sshd has it by default. */
const advice = (keys: readonly HostKey[]): string => {
  const types = [...new Set(keys.map(({ shortType }) => shortType))];
  return [
    ...keys.map((key) => `${key.where}  ${fingerprint(key)}`),
    '',
    'Whoever controls the network could have answered. Compare these at the server, over a way that you trust:',
    ...types.map((type) => `  ssh-keygen -lf /etc/ssh/ssh_host_${type}_key.pub`),
    '',
  ].join('\n');
};
