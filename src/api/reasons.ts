/**
 * Why a tunnel has no connection and, after the colon, what a person can do about it. The set is closed: metrics and alerts count on it,
 * and docs/reasons.md is made from it.
 */
export const REASON_HELP = {
  AuthFailed:
    'The server refused the key: check the user name, authorized_keys and, for a certificate, its principals.',
  IdentityMissing: 'There is no key file, or no certificate: check the Secret and the names of its keys.',
  IdentityInvalid:
    'The key is not one that ssh can use, or the certificate is not one of it: store both whole, as ssh-keygen wrote them.',
  PassphraseWrong: 'The passphrase does not open the key: check the passphrase beside it.',
  CertificateExpired: 'The certificate of the key is outside its time: have it signed again, or check the clock.',
  HostKeyChanged:
    'The server shows another host key than known_hosts has: verify the new key, then update known_hosts.',
  HostKeyUnknown: 'known_hosts has no key for this host: add the verified key of the host.',
  AlgorithmMismatch: 'Client and server share no algorithm: update the server, or allow the older one by name.',
  RemoteForwardFailed:
    'The server refused a remote forward: check who has the port there, and what permitlisten allows.',
  RemotePortBusy:
    'The remote port is still held, most likely by our own last session: set ClientAliveInterval on the server.',
  LocalPortBusy: 'The local address of a forward is taken or not ours: choose another port.',
  TargetUnreachable: 'The server cannot reach the target of a forward: check the host and port as seen from there.',
  NameResolution: 'The name of the server could not be resolved: check the name and the DNS.',
  ConnectionRefused: 'Nothing listens at the address: check the port and whether sshd runs.',
  ConnectTimeout: 'The server did not answer in time: check the network and the firewall between.',
  NetworkUnreachable: 'There is no route to the server: check the network.',
  ServerBusy:
    'The server turned the connection away before login: check MaxStartups and PerSourcePenalties of the server.',
  KeepAliveTimeout: 'The server stopped answering keepalives: check the network between, if it happens often.',
  HeartbeatLost:
    'No bytes came round through the tunnel any more, although ssh was running: check the network and the load of the server, if it happens often.',
  RemoteClosed:
    'The server, or something between, closed the connection: check the log of sshd and the idle timeouts of firewalls.',
  Killed: 'ssh was ended by a signal: check whether the container ran out of memory.',
  BadConfiguration:
    'ssh or one of its tools did not accept its settings, or could not be run: check what the log says of them.',
  Unknown: 'ssh gave no reason that is known here: check its last lines in the log, and please report them.',
} as const;

/** Why a single forward is down while its tunnel is not. */
export const FORWARD_REASON_HELP = {
  ProbeFailed:
    'The target of the forward was reached, or its listener here was not, and it did not answer its probe as it should: look at the target.',
} as const;

export type ForwardReason = Reason | keyof typeof FORWARD_REASON_HELP;

export type Reason = keyof typeof REASON_HELP;
export const REASONS = Object.keys(REASON_HELP) as Reason[];
