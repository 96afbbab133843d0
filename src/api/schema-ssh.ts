import * as z from 'zod';
import { DEFAULTS } from './defaults.ts';
import { ruled } from './rule.ts';
import { algorithms, dataKey, host, knownHostsText, objectName, port, user } from './text.ts';

const identity = () =>
  z
    .strictObject({
      secretRef: z
        .strictObject({
          name: objectName().describe('Name of the Secret, of type kubernetes.io/ssh-auth or any other.'),
          key: dataKey()
            .default(DEFAULTS.identityKey)
            .describe(`Key of the Secret that holds the private key. Default: ${DEFAULTS.identityKey}.`),
          passphraseKey: dataKey()
            .optional()
            .describe('Key of the Secret that holds the passphrase of the private key. Default: the key has none.'),
          certificateKey: dataKey()
            .optional()
            .describe('Key of the Secret that holds the OpenSSH certificate of the key. Default: there is none.'),
        })
        .describe(
          'Secret of the same namespace. It may be missing for now: the tunnel waits, with reason IdentityMissing.',
        ),
    })
    .describe('The key that logs in. Only the pods of the tunnel read it, never the operator.');

const fileRef = (kind: string) =>
  z
    .strictObject({
      name: objectName().describe(`Name of the ${kind}.`),
      key: dataKey()
        .default(DEFAULTS.knownHostsKey)
        .describe(`Key of the ${kind} whose value is a known_hosts file. Default: ${DEFAULTS.knownHostsKey}.`),
    })
    .describe(`${kind} of the same namespace.`);

const knownHosts = () =>
  ruled(
    z.strictObject({
      configMapRef: fileRef('ConfigMap').optional(),
      secretRef: fileRef('Secret').optional(),
      inline: knownHostsText().optional().describe('The lines of known_hosts themselves; at most 4096 characters.'),
      insecureSkipVerify: z
        .boolean()
        .optional()
        .describe(
          'true: accept any host key, so that the server can be anybody. For trials; shown in a condition and a metric. Default: false.',
        ),
    }),
    [
      {
        cel: '[has(self.configMapRef), has(self.secretRef), has(self.inline), has(self.insecureSkipVerify) && self.insecureSkipVerify].filter(given, given).size() == 1',
        message: 'expected exactly one of configMapRef, secretRef, inline, insecureSkipVerify: true',
        holds: ({ configMapRef, secretRef, inline, insecureSkipVerify }) =>
          [configMapRef, secretRef, inline, insecureSkipVerify || undefined].filter((given) => given !== undefined)
            .length === 1,
      },
    ],
  ).describe(
    'How the host key is checked: a known_hosts file (lines with @cert-authority and @revoked work), from exactly one of its members.',
  );

const ALGORITHM_LIST = 'A list as in ssh_config; +, - or ^ in front changes the default of OpenSSH.';

/** What may be set of ssh_config: typed members, never lines. */
const options = () =>
  z
    .strictObject({
      compression: z.boolean().default(DEFAULTS.compression).describe('Compress the connection. Default: false.'),
      connectTimeoutSeconds: z
        .int()
        .min(1)
        .max(300)
        .default(DEFAULTS.connectTimeoutSeconds)
        .describe(
          `Seconds until an address that does not answer is given up (ConnectTimeout). Default: ${DEFAULTS.connectTimeoutSeconds}.`,
        ),
      serverAliveIntervalSeconds: z
        .int()
        .min(0)
        .max(3600)
        .default(DEFAULTS.serverAliveIntervalSeconds)
        .describe(
          `Seconds of silence until ssh asks whether the server lives (ServerAliveInterval); 0 is never. Default: ${DEFAULTS.serverAliveIntervalSeconds}.`,
        ),
      serverAliveCountMax: z
        .int()
        .min(1)
        .max(100)
        .default(DEFAULTS.serverAliveCountMax)
        .describe(
          `Unanswered questions that end the connection (ServerAliveCountMax). Default: ${DEFAULTS.serverAliveCountMax}.`,
        ),
      addressFamily: z
        .enum(['Any', 'IPv4', 'IPv6'])
        .default(DEFAULTS.addressFamily)
        .describe('Addresses to connect to. Default: Any.'),
      hostKeyAlgorithms: algorithms().optional().describe(`Algorithms of the host key. ${ALGORITHM_LIST}`),
      pubkeyAcceptedAlgorithms: algorithms().optional().describe(`Algorithms of the own key. ${ALGORITHM_LIST}`),
      kexAlgorithms: algorithms().optional().describe(`Algorithms of the key exchange. ${ALGORITHM_LIST}`),
      ciphers: algorithms().optional().describe(`Ciphers. ${ALGORITHM_LIST}`),
      macs: algorithms().optional().describe(`Message authentication codes. ${ALGORITHM_LIST}`),
    })
    .prefault({})
    .describe('Options of OpenSSH for the connection to this host. What is not a member here cannot be set.');

const hostKeyAlias = () =>
  host()
    .optional()
    .describe('Name under which known_hosts has the host, when it is not the name to connect to (HostKeyAlias).');

const jumpHost = () =>
  z
    .strictObject({
      host: host().describe('DNS name or IP address, as seen from the host before it.'),
      port: port().default(DEFAULTS.port).describe(`Port of its sshd. Default: ${DEFAULTS.port}.`),
      user: user().optional().describe('User to log in as. Default: ssh.user.'),
      identity: identity().optional().describe('The key that logs in there. Default: ssh.identity.'),
      knownHosts: knownHosts().optional().describe('How its host key is checked. Default: ssh.knownHosts.'),
      hostKeyAlias: hostKeyAlias(),
      options: options().describe('Options for the connection to this host; those of ssh.options do not reach it.'),
    })
    .describe('A host to go through.');

export const ssh = () =>
  z
    .strictObject({
      host: host().describe('DNS name or IP address of the SSH server.'),
      port: port().default(DEFAULTS.port).describe(`Port of the SSH server. Default: ${DEFAULTS.port}.`),
      user: user().describe('User to log in as.'),
      identity: identity(),
      knownHosts: knownHosts(),
      hostKeyAlias: hostKeyAlias(),
      jumpHosts: z
        .array(jumpHost())
        .max(4)
        .default([])
        .describe('Hosts to go through, the nearest first, each with its own key and strict host keys. At most 4.'),
      options: options(),
    })
    .describe('The SSH server, and how to log in.');
