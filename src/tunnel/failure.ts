import type { Reason } from '../api/reasons.ts';

/** What is known of an ssh that has ended. */
export type Ending = {
  /** Its last lines on stderr, without ends of line. */
  readonly lines: readonly string[];
  readonly exitCode: number | null;
  readonly signal: number | null;
  /** Whether it had logged in. */
  readonly connected: boolean;
  /** Whether the remote forwards had worked before: ssh's words for a busy port and a forbidden one are the same. */
  readonly remoteForwardWorkedBefore: boolean;
};

/** Why an ssh ended, and the line of its own that says so (empty where there is none). */
export type Verdict = { readonly reason: Reason; readonly line: string };

/**
 * ssh's words and what they mean; the first row that fits wins. ssh exits with 255 for nearly everything, so its stderr is all there
 * is. Rows are anchored at the start of a line. From OpenSSH 9.2 runs and, where the words differ, later sources.
 */
const TABLE: ReadonlyArray<readonly [RegExp, Reason]> = [
  // What was wrong before anything was sent.
  [
    /^(?:command-line|\S+)(?::| line).*(?:Bad configuration option|unsupported option|terminating, \d+ bad|Bad port|missing argument)/i,
    'BadConfiguration',
  ],
  [
    /^(?:Bad (?:local|remote|dynamic) forwarding specification|Bad port '|Can't open user config file|No user exists for uid|usage: ssh |unix_listener: path ".*" too long|hostname contains invalid characters|remote username contains invalid characters)/,
    'BadConfiguration',
  ],
  [
    /^(?:Could not request local forwarding\.|(?:channel_setup_fwd_listener_tcpip|bind) ?.*(?:cannot listen to port|Address already in use|Cannot assign requested address))/,
    'LocalPortBusy',
  ],
  // Host keys: "Host key verification failed." ends all of them, so the line before it decides.
  [
    /^(?:Host key for .* has changed and you have requested strict checking|@ +WARNING: (?:REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY DETECTED)|.* host key for .* was revoked|Host key .* revoked by file)/,
    'HostKeyChanged',
  ],
  [/^(?:No .* host key is known for|Certificate invalid: |Host key verification failed\.)/, 'HostKeyUnknown'],
  [/^Unable to negotiate with .*: no matching /, 'AlgorithmMismatch'],
  // Keys: all of them end in "Permission denied", so again the line before it decides.
  [/^(?:Warning: Identity file .* not accessible|no such identity: )/, 'IdentityMissing'],
  [/^Load key ".*": (?:incorrect passphrase|bad decrypt)/, 'PassphraseWrong'],
  [
    /^(?:Load key ".*": |identity_sign: private key .* contents do not match|Permissions \d+ for '.*' are too open)/,
    'IdentityInvalid',
  ],
  [
    /^(?:\S+: Permission denied \(|Received disconnect from .*: Too many authentication failures|Too many authentication failures)/,
    'AuthFailed',
  ],
  [/^(?:Error|Warning): remote port forwarding failed for listen (?:port|path) /, 'RemoteForwardFailed'],
  // The network, from the name to the connection.
  [/^ssh: Could not resolve hostname /, 'NameResolution'],
  [/^ssh: connect to (?:host|address) .*: Connection refused/, 'ConnectionRefused'],
  [/^ssh: connect to (?:host|address) .*: (?:Connection timed out|Operation timed out)/, 'ConnectTimeout'],
  [
    /^ssh: connect to (?:host|address) .*: (?:Network is unreachable|No route to host|Host is down)/,
    'NetworkUnreachable',
  ],
  [/^Connection timed out during banner exchange/, 'ConnectTimeout'],
  [/^(?:Timeout, server .* not responding\.|Connection to .* port \d+ timed out)/, 'KeepAliveTimeout'],
  // Turned away before the login: MaxStartups and the penalties of 9.8 close the connection without a word.
  [
    /^(?:kex_exchange_identification: |ssh_exchange_identification: |Not allowed at this time|Exceeded MaxStartups)/,
    'ServerBusy',
  ],
  [
    /^(?:Connection (?:closed|reset) by |Connection to .* closed by remote host|client_loop: send disconnect|Received disconnect from |Disconnected from |ssh_dispatch_run_fatal: )/,
    'RemoteClosed',
  ],
];

/** A server's banner may say anything, ssh's own last words come after it: only these are looked at. */
const LAST_LINES = 12;

/** Tells why an ssh ended. Always an answer; Unknown where its words are none of the table's. */
export const classify = ({ lines, signal, connected, remoteForwardWorkedBefore }: Ending): Verdict => {
  const last = lines.slice(-LAST_LINES).filter((line) => line.trim() !== '');
  for (const [words, reason] of TABLE) {
    const line = last.findLast((candidate) => words.test(candidate));
    if (line === undefined) continue;
    if (reason === 'RemoteForwardFailed' && remoteForwardWorkedBefore) return { reason: 'RemotePortBusy', line };
    if (reason === 'KeepAliveTimeout' && !connected) return { reason: 'ConnectTimeout', line };
    return { reason, line };
  }
  if (signal !== null) return { reason: 'Killed', line: last.at(-1) ?? '' };
  return { reason: 'Unknown', line: last.at(-1) ?? '' };
};

/** The port of a remote forward that the server refused, if the line says so; null for any other line. */
export const remoteForwardFailure = (line: string): number | null => {
  const port = /^(?:Error|Warning): remote port forwarding failed for listen port (\d+)/.exec(line)?.[1];
  return port === undefined ? null : Number(port);
};
