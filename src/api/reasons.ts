/** Why a tunnel has no connection, and what a person can do about it. The set is closed: metrics and alerts count on it. */
export const REASON_HELP = {
  AuthFailed:
    'The server refused the key: check the user name, authorized_keys and, for a certificate, its principals.',
  IdentityMissing: 'There is no key file: check the Secret and the name of its key.',
  IdentityInvalid: 'The key file is not a private key that ssh can read: check that it was stored whole.',
  PassphraseWrong: 'The passphrase does not open the key: check the passphrase beside it.',
  CertificateExpired: 'The certificate of the key is outside its time: have it signed again.',
  HostKeyChanged:
    'The server shows another host key than known_hosts has: verify the new key, then update known_hosts.',
  HostKeyUnknown: 'known_hosts has no key for this host: add the verified key of the host.',
  AlgorithmMismatch: 'Client and server share no algorithm: update the server, or allow the older one by name.',
  RemoteForwardFailed: 'The server refused a remote forward: the port is taken there, or permitlisten forbids it.',
  RemotePortBusy:
    'The remote port is still held, most likely by our own last session: set ClientAliveInterval on the server.',
  LocalPortBusy: 'The local address of a forward is taken or not ours: choose another port.',
  TargetUnreachable: 'The server cannot reach the target of a forward: check the host and port as seen from there.',
  NameResolution: 'The name of the server could not be resolved: check the name and the DNS.',
  ConnectionRefused: 'Nothing listens at the address: check the port and whether sshd runs.',
  ConnectTimeout: 'The server did not answer in time: check the network and the firewall between.',
  NetworkUnreachable: 'There is no route to the server: check the network.',
  ServerBusy: 'The server turned the connection away before login (MaxStartups, penalties): retry seldom.',
  KeepAliveTimeout: 'The server stopped answering keepalives: the path or the server was lost.',
  HeartbeatLost: 'No bytes came round through the tunnel any more, although ssh was running.',
  RemoteClosed: 'The server, or something between, closed the connection.',
  Killed: 'ssh was ended by a signal.',
  BadConfiguration: 'ssh did not accept its options, or could not be run.',
  Unknown: 'ssh gave no reason that is known here: see its last lines.',
} as const;

/** Why a single forward is down while its tunnel is not. */
export const FORWARD_REASON_HELP = {
  ProbeFailed:
    'The target of the forward was reached, or its listener here was not, and it did not answer its probe as it should: look at the target.',
} as const;

export type ForwardReason = Reason | keyof typeof FORWARD_REASON_HELP;

export type Reason = keyof typeof REASON_HELP;
export const REASONS = Object.keys(REASON_HELP) as Reason[];
