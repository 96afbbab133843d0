import type { DocumentForward, Endpoint, Hop, Slot, TunnelDocument } from '../api/document.ts';
import { configText } from './ssh-config.ts';
import { enforced, hopOptions, type Option } from './ssh-options.ts';

/** Where the supervisor has put the files of one login; all paths are absolute and private to it. */
export type LoginFiles = {
  /** The private key, or with an agent the key whose signature is asked of it. */
  readonly identityFile: string;
  readonly certificateFile?: string;
  /** Socket of the supervisor's own agent, for a key with a passphrase. */
  readonly identityAgent?: string;
};

export type Places = {
  /** By slot: every slot that the document's `identities` has. */
  readonly logins: Readonly<Partial<Record<Slot, LoginFiles>>>;
  /** By slot: every slot of the document's `knownHosts` whose source is not Insecure. */
  readonly knownHosts: Readonly<Partial<Record<Slot, string>>>;
  /** Where the private configuration will be written, if one is needed. */
  readonly configFile: string;
};

/** A file to be written before ssh starts, mode 0600. */
export type PrivateFile = { readonly path: string; readonly content: string };

export type SshCommand = {
  /** Arguments for execve, without the program; what the heartbeat adds goes in front of them. */
  readonly argv: readonly string[];
  readonly files: readonly PrivateFile[];
  /** What the environment of ssh must have: ssh runs its jump hosts by `$SHELL -c`. */
  readonly env: Readonly<Record<string, string>>;
};

/** Why no command can be made: a slot without files, or a path that ssh_config cannot hold. */
export class CannotCompile extends Error {}

/**
 * The ssh of a tunnel. First the enforced options (of each keyword ssh takes the first value), then the forwards, then `--` and the
 * destination. ssh's own files are never read: `-F none`, or with jump hosts a private configuration, since a hop's ssh inherits
 * nothing else. There every hop has the enforced options, its own key and strict host keys. Throws CannotCompile.
 */
export const sshCommand = (document: TunnelDocument, places: Places): SshCommand => {
  const { ssh, jumpHosts, forwards } = document;
  const proxied = jumpHosts.length > 0;
  const hops = jumpHosts.map((_, index) => hopAlias(index));
  const options: Option[] = [
    ...enforced(loginOf(ssh, document, places)),
    ...hopOptions(ssh),
    proxied ? ['ProxyJump', hops.join(',')] : ['ProxyCommand', 'none'],
  ];
  return {
    argv: [
      ...['-F', proxied ? plainPath(places.configFile) : 'none'],
      ...options.flatMap(([keyword, value]) => ['-o', `${keyword}=${value}`]),
      ...['-N', '-T', '-n'],
      ...forwards.flatMap(forwardArgs),
      ...['--', ssh.host],
    ],
    files: proxied ? [{ path: places.configFile, content: configFor(document, places, hops) }] : [],
    env: { SHELL: '/bin/sh' },
  };
};

/** A name that no host of a document can have (no host has a `_`), so that no host's own name ever meets a hop's block. */
const hopAlias = (index: number): string => `autossh_hop_${index + 1}`;

const configFor = (document: TunnelDocument, places: Places, hops: readonly string[]): string =>
  configText(
    document.jumpHosts.map((hop, index) => ({
      host: hops[index] ?? hopAlias(index),
      options: [
        ['HostName', hop.host],
        ...enforced(loginOf(hop, document, places)),
        ...hopOptions(hop),
        // A hop's ssh must never become, or use, the master of the tunnel's control socket.
        ['ControlMaster', 'no'],
        ['ControlPath', 'none'],
        // ssh hands each hop those before it on its command line.
        ...(index === 0 ? ([['ProxyCommand', 'none']] as const) : []),
      ],
    })),
  );

const loginOf = (hop: Hop, { knownHosts }: TunnelDocument, places: Places) => {
  const files = places.logins[hop.identity];
  if (files === undefined) throw new CannotCompile(`expected the files of login ${hop.identity}; got none`);
  const source = knownHosts.find(({ slot }) => slot === hop.knownHosts)?.source;
  const file = places.knownHosts[hop.knownHosts];
  if (source !== 'Insecure' && file === undefined)
    throw new CannotCompile(`expected a known_hosts file for ${hop.knownHosts}; got none`);
  return {
    identityFile: configPath(files.identityFile),
    certificateFile: files.certificateFile === undefined ? null : configPath(files.certificateFile),
    identityAgent: files.identityAgent === undefined ? 'none' : configPath(files.identityAgent),
    knownHostsFile: source === 'Insecure' || file === undefined ? null : configPath(file),
  };
};

/** Only what needs no quotes in any of the languages a path passes through: ssh_config, sh (for hops), and ssh's lists of files. */
const PLAIN = /^\/[A-Za-z0-9_.,@+=/%-]*$/;
const plainPath = (path: string): string => {
  if (!PLAIN.test(path) || path.includes('%'))
    throw new CannotCompile(
      `expected an absolute path of letters, digits and "_.,@+=-/"; got ${JSON.stringify(path)}: set TMPDIR to a plainer directory`,
    );
  return path;
};

/** The same in an option's value, where ssh expands %-tokens. */
const configPath = (path: string): string => {
  if (!PLAIN.test(path)) return plainPath(path);
  return path.replaceAll('%', '%%');
};

/** A forward as ssh takes it, also after `ssh -O forward` and `ssh -O cancel`: `['-L', '127.0.0.1:5432:db.internal:5432']`. */
export const forwardArgs = (forward: DocumentForward): [flag: '-L' | '-R' | '-D', spec: string] => {
  switch (forward.kind) {
    case 'local':
      return ['-L', `${endpointText(forward.listen)}:${endpointText(forward.target)}`];
    case 'remote':
      return ['-R', `${endpointText(forward.listen)}:${endpointText(forward.target)}`];
    case 'dynamic':
      return ['-D', endpointText(forward.listen)];
  }
};

/** host:port, IPv6 in brackets, or a path. */
export const endpointText = (place: Endpoint): string =>
  'path' in place ? place.path : `${place.host.includes(':') ? `[${place.host}]` : place.host}:${place.port}`;
