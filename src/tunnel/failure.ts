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

/** Why an ssh ended, and the line of its own that says so (empty where there is none); of one that was killed, the signal. */
export type Verdict = { readonly reason: Reason; readonly line: string };

/** A line of ssh that ends it, and what it means. */
type Row = {
  readonly words: RegExp;
  readonly reason: Reason;
  /** For words that only end what other words before them began: those say more. */
  readonly begunBy?: () => readonly Row[];
};

const rows = (reason: Reason, begunBy: Row['begunBy'], ...words: RegExp[]): Row[] =>
  words.map((one) => ({ words: one, reason, ...(begunBy ? { begunBy } : {}) }));

// From OpenSSH 9.2 runs and the sources of 7.2 to 10.5: test/fixtures/failure. Every row is anchored at the start of a line.

/** All of these come before a "Permission denied", and mean something only there. */
const KEYS: readonly Row[] = [
  ...rows('IdentityMissing', undefined, /^Warning: Identity file .* not accessible/, /^no such identity: /),
  ...rows('AlgorithmMismatch', undefined, /^\w+: no mutual signature/),
  ...rows(
    'IdentityInvalid',
    undefined,
    /^Load key ".*": /,
    /^\w+: private key .* contents do not match/,
    /^Permissions \d+ for '.*' are too open/,
  ),
];

const HOST_KEYS: readonly Row[] = [
  ...rows(
    'HostKeyChanged',
    undefined,
    /^(?:\S+ h|H)ost key for .* has changed and you have requested strict checking/,
    /^@ +WARNING: (?:REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY DETECTED)/,
    /^\S+ host key for .* was revoked/,
    /^The \S+ host key for .* is marked as revoked/,
    /^Host key .* revoked by file/,
  ),
  ...rows('HostKeyUnknown', undefined, /^Certificate invalid: /, /^No \S+ host key is known for/),
];

const LISTENERS: readonly Row[] = rows('LocalPortBusy', undefined, /^bind(?: \[.*\]:\S+)?: /, /^unix_listener: /);

/** What ends an ssh before it has logged in: it, or the ssh of a jump host before it. */
const BEFORE_LOGIN: readonly Row[] = [
  // It does not accept what it was given.
  ...rows(
    'BadConfiguration',
    undefined,
    /^(?:command-line|\S+):? line \d+: (?!Unsupported option|Deprecated option)/,
    /^(?:command-line|\S+): terminating, \d+ bad configuration options/,
    /^Bad (?:local|remote|dynamic|stdio) forwarding specification/,
    /^Bad port '/,
    /^(?:Unknown|Bad SSH2) (?:cipher|mac|Mac)/,
    /^Can't open user config file/,
    /^No user exists for uid/,
    /^usage: ssh /,
    /^unix_listener: /,
    /^jumphost loop via /,
    /^(?:hostname|remote username) contains invalid characters/,
  ),
  // Its way to the server.
  ...rows('NameResolution', undefined, /^\S*ssh: Could not resolve host/),
  ...rows('ConnectionRefused', undefined, /^ssh: connect to (?:host|address) .*: Connection refused/),
  ...rows('ConnectTimeout', undefined, /^ssh: connect to (?:host|address) .*: (?:Connection|Operation) timed out/),
  ...rows('NetworkUnreachable', undefined, /^ssh: connect to (?:host|address) /),
  ...rows('ConnectTimeout', undefined, /^Connection timed out during banner exchange/),
  ...rows('TargetUnreachable', () => CHANNELS, /^stdio forwarding failed/),
  // Its talk with the server.
  ...rows(
    'AlgorithmMismatch',
    undefined,
    /^Unable to negotiate with .*: no matching /,
    /^Protocol major versions differ/,
  ),
  ...rows(
    'Unknown',
    () => rows('AlgorithmMismatch', undefined, /^Protocol major versions differ/),
    /^banner exchange: Connection to .*: (?:invalid format|could not read protocol version)/,
    /^Bad remote protocol version identification: /,
  ),
  ...HOST_KEYS,
  ...rows('HostKeyUnknown', () => HOST_KEYS, /^Host key verification failed\./),
  ...rows('PassphraseWrong', undefined, /^Load key ".*": incorrect passphrase/),
  ...rows('AuthFailed', () => KEYS, /^(?:\S+: )?Permission denied \(/),
  ...rows('AuthFailed', undefined, /^(?:Received disconnect from .*: )?Too many authentication failures/),
];

/** Why the server did not open the channel of a jump. */
const CHANNELS: readonly Row[] = rows('TargetUnreachable', undefined, /^channel \d+: open failed: /);

const ROWS: readonly Row[] = [
  ...BEFORE_LOGIN,
  ...rows('LocalPortBusy', () => LISTENERS, /^Could not request local forwarding\./),
  ...rows('RemoteForwardFailed', undefined, /^Error: remote port forwarding failed for listen (?:port|path) /),
  ...rows(
    'KeepAliveTimeout',
    () => rows('ConnectTimeout', undefined, /^Connection timed out during banner exchange/),
    /^Timeout, server .* not responding\./,
    /^Connection to .* timed out/,
    /^Read from remote host .*: (?:Connection|Operation) timed out/,
  ),
  // Behind a jump host these are the last words, whatever it was that happened there.
  ...rows(
    'RemoteClosed',
    () => BEFORE_LOGIN,
    /^Connection (?:closed|reset) by UNKNOWN port 65535/,
    /^(?:kex|ssh)_exchange_identification: /,
  ),
  ...rows(
    'RemoteClosed',
    () => rows('AuthFailed', undefined, /^Received disconnect from .*: Too many authentication failures/),
    /^Disconnected from /,
  ),
  ...rows(
    'RemoteClosed',
    undefined,
    /^Connection (?:closed|reset) by /,
    /^Connection to .* closed by remote host/,
    /^Read from remote host /,
    /^client_loop: send disconnect/,
    /^Received disconnect from /,
    /^\w+(?: \w+)*: Connection to \S+ port \d+: /,
  ),
];

/** A server's banner may say anything, ssh's own last words come after it: only these are looked at. */
const LAST_LINES = 12;

/**
 * Tells why an ssh ended. Always an answer; Unknown where its words are none of the table's. ssh exits with 255 for nearly
 * everything, so its stderr is all there is; and the last words count: what it complained of earlier did not end it.
 */
export const classify = (ending: Ending): Verdict => {
  const last = ending.lines.slice(-LAST_LINES).filter((line) => line.trim() !== '');
  // It could not say so; what it said before that was of something else.
  if (ending.signal !== null) return { reason: 'Killed', line: `ended by signal ${ending.signal}` };
  const found = lastWords(last, ROWS);
  if (found === null) return { reason: 'Unknown', line: last.at(-1) ?? '' };
  return { reason: inContext(found.reason, ending), line: found.line };
};

const lastWords = (lines: readonly string[], among: readonly Row[]): Verdict | null => {
  for (let index = lines.length - 1; index >= 0; index--) {
    const line = lines[index] ?? '';
    const row = among.find(({ words }) => words.test(line));
    if (row === undefined) continue;
    const begun = row.begunBy === undefined ? null : lastWords(lines.slice(0, index), row.begunBy());
    return begun ?? { reason: row.reason, line };
  }
  return null;
};

/** What the same words mean before and after the login, and for a forward that has worked before. */
const inContext = (reason: Reason, { connected, remoteForwardWorkedBefore }: Ending): Reason => {
  if (reason === 'RemoteForwardFailed' && remoteForwardWorkedBefore) return 'RemotePortBusy';
  if (reason === 'KeepAliveTimeout' && !connected) return 'ConnectTimeout';
  // Since OpenSSH 9.5 nothing else is said where MaxStartups or a penalty turned us away.
  if (reason === 'RemoteClosed' && !connected) return 'ServerBusy';
  return reason;
};

/** The port of a remote forward that the server refused, if the line says so; null for any other line. */
export const remoteForwardFailure = (line: string): number | null => {
  const port = /^(?:Error|Warning): remote port forwarding failed for listen port (-?\d+)/.exec(line)?.[1];
  return port === undefined ? null : Number(port);
};

/** Why the server opened no channel, if the line says so: `connect failed: Connection refused`; null for any other line. */
export const channelRefusal = (line: string): string | null =>
  /^channel \d+: open failed: (.*)$/.exec(line)?.[1] ?? null;
