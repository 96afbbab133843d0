import type { Hop } from '../api/document.ts';

/** A keyword of ssh_config and its value, which needs no quotes. */
export type Option = readonly [keyword: string, value: string];

/** What one login needs; paths are as ssh_config takes them. A null known_hosts file is insecureSkipVerify. */
export type Login = {
  readonly identityFile: string;
  readonly certificateFile: string | null;
  readonly identityAgent: string;
  readonly knownHostsFile: string | null;
};

/**
 * What no specification can change, for the server and for every hop alike: nobody is asked, only the given key is offered, only the
 * given host keys count, nothing but the declared forwards is opened, nothing local is run (design: safety of ssh). LogLevel stays
 * INFO, since the reasons of failures are read from its lines; IPQoS none, since ControlMaster would otherwise make it bulk traffic.
 */
export const enforced = (login: Login): Option[] => [
  ['BatchMode', 'yes'],
  ['ExitOnForwardFailure', 'yes'],
  ['IdentitiesOnly', 'yes'],
  ['StrictHostKeyChecking', login.knownHostsFile === null ? 'no' : 'yes'],
  ['UserKnownHostsFile', login.knownHostsFile ?? '/dev/null'],
  ['GlobalKnownHostsFile', '/dev/null'],
  ['KnownHostsCommand', 'none'],
  ['UpdateHostKeys', 'no'],
  ['VerifyHostKeyDNS', 'no'],
  ['PermitLocalCommand', 'no'],
  ['ForwardAgent', 'no'],
  ['ForwardX11', 'no'],
  ['Tunnel', 'no'],
  ['PreferredAuthentications', 'publickey'],
  ['PasswordAuthentication', 'no'],
  ['KbdInteractiveAuthentication', 'no'],
  ['IdentityFile', login.identityFile],
  ...(login.certificateFile === null ? [] : [['CertificateFile', login.certificateFile] as const]),
  ['IdentityAgent', login.identityAgent],
  ['AddKeysToAgent', 'no'],
  ['PKCS11Provider', 'none'],
  ['CanonicalizeHostname', 'no'],
  ['ConnectionAttempts', '1'],
  ['EscapeChar', 'none'],
  ['IPQoS', 'none'],
  ['LogLevel', 'INFO'],
];

const FAMILY = { Any: 'any', IPv4: 'inet', IPv6: 'inet6' } as const;

/** What the specification says about one host; every value has passed the schema. */
export const hopOptions = ({ port, user, hostKeyAlias, options }: Hop): Option[] => {
  const given = (keyword: string, value: string | undefined): Option[] =>
    value === undefined ? [] : [[keyword, value]];
  return [
    ['Port', String(port)],
    ['User', user],
    ...given('HostKeyAlias', hostKeyAlias),
    ['ConnectTimeout', String(options.connectTimeoutSeconds)],
    ['ServerAliveInterval', String(options.serverAliveIntervalSeconds)],
    ['ServerAliveCountMax', String(options.serverAliveCountMax)],
    ['AddressFamily', FAMILY[options.addressFamily]],
    ['Compression', options.compression ? 'yes' : 'no'],
    ...given('HostKeyAlgorithms', options.hostKeyAlgorithms),
    ...given('PubkeyAcceptedAlgorithms', options.pubkeyAcceptedAlgorithms),
    ...given('KexAlgorithms', options.kexAlgorithms),
    ...given('Ciphers', options.ciphers),
    ...given('MACs', options.macs),
  ];
};
