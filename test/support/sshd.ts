import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort } from './port.ts';
import { descendantsOf, isAlive, type Process, processOf, signal } from './processes.ts';
import { until } from './until.ts';

export type SshdOptions = {
  /** Listen address; default 127.0.0.1. */
  host?: string;
  /** Default: a free one. The port stays the same over restart(). */
  port?: number;
  /** Lines of sshd_config that come first: sshd takes the first value of a keyword, so they win over this file's own. */
  config?: readonly string[];
  /** Options of the key in authorized_keys, e.g. `restrict,port-forwarding,permitlisten="127.0.0.1:*"`. */
  keyOptions?: string;
  /** Type of host key and user key as ssh-keygen -t takes it; default ed25519. */
  hostKeyType?: KeyType;
  userKeyType?: KeyType;
  /** Who logs in; default the current user. Another user works only where sshd runs as root. */
  user?: string;
  /** The server binary, for other versions of OpenSSH; absolute, because sshd re-executes itself. */
  binary?: string;
  /** A command that runs the server, e.g. in a network namespace (netns.ts). `port` must be given then. */
  wrap?: readonly string[];
};
export type KeyType = 'ed25519' | 'rsa' | 'ecdsa';

/** Which processes a signal is for: the listener (accepts connections), the sessions (one or two per connection), or both. */
export type Part = 'all' | 'listener' | 'sessions';

export type Sshd = {
  host: string;
  port: number;
  user: string;
  /** Own temporary directory (0700); gone after stop(). Put what belongs to this server there: sockets, further keys. */
  dir: string;
  /** Paths. The private host key, known_hosts that names it, the user's private key (its public half beside it as .pub). */
  hostKey: string;
  knownHosts: string;
  userKey: string;
  authorizedKeys: string;
  configFile: string;
  logFile: string;
  /** `ssh` arguments up to the destination that log in here and touch no configuration of the machine; add `-N`, forwards … */
  sshArgs: string[];
  /** `user@host`, the last argument. */
  destination: string;
  /** Processes alive now. */
  listener(): number | undefined;
  sessions(): number[];
  /** What sshd said so far (all runs). sshd writes to a file: a test whose event loop is blocked cannot freeze the server. */
  log(): string;
  /** Waits until the log has it. */
  logged(pattern: RegExp, deadlineMs?: number): Promise<void>;
  /** SIGSTOP: the kernel still accepts TCP, nobody answers. */
  pause(part?: Part): void;
  resume(part?: Part): void;
  /** Sends the signal (default SIGKILL) and waits until those processes are gone. */
  kill(part?: Part, name?: NodeJS.Signals): Promise<void>;
  /** Ends what runs, then starts again on the same port with the same keys, unless told otherwise. */
  restart(change?: { config?: readonly string[]; keyOptions?: string; newHostKey?: boolean }): Promise<void>;
  /** Everything ends (also paused processes) and the directory goes. Safe to call twice. */
  stop(): Promise<void>;
};

/**
 * A private sshd: loopback, a free port, own keys, a known configuration, nothing of the machine's. Linux only. It is ready when
 * this returns, and dies with the process (thread) that started it, even by SIGKILL.
 */
export const startSshd = async (options: SshdOptions = {}): Promise<Sshd> => {
  const { host = '127.0.0.1', user = userInfo().username, hostKeyType = 'ed25519', userKeyType = 'ed25519' } = options;
  const binary = options.binary ?? '/usr/sbin/sshd';
  const { wrap = [] } = options;
  let { config = [], keyOptions = '' } = options;
  let port = options.port ?? (await freePort(host));
  const dir = mkdtempSync(join(tmpdir(), 'sshd-'));
  // sshd reads authorized_keys with the rights of who logs in: another user must be able to enter.
  chmodSync(dir, user === userInfo().username ? 0o700 : 0o711);
  const file = (name: string) => join(dir, name);
  const [hostKey, userKey, knownHosts] = [file('host_key'), file('user_key'), file('known_hosts')];
  const [authorizedKeys, configFile, logFile] = [file('authorized_keys'), file('sshd_config'), file('sshd.log')];

  let listener: { child: ChildProcess; process: Process } | undefined;
  /** Sessions outlive their listener, as children of init then: they are remembered before it is signalled. */
  const remembered = new Map<number, Process>();

  const sessions = (): Process[] => {
    if (listener) for (const one of descendantsOf(listener.process.pid)) remembered.set(one.pid, one);
    for (const one of remembered.values()) {
      if (isAlive(one)) for (const below of descendantsOf(one.pid)) remembered.set(below.pid, below);
      else remembered.delete(one.pid);
    }
    return [...remembered.values()].filter(isAlive);
  };
  const partOf = (part: Part): Process[] => [
    ...(part !== 'sessions' && listener && isAlive(listener.process) ? [listener.process] : []),
    ...(part !== 'listener' ? sessions() : []),
  ];
  const log = () => readFileSync(logFile, 'utf8');

  const writeFiles = () => {
    const where = port === 22 ? host : `[${host}]:${port}`;
    writeFileSync(knownHosts, `${where} ${readFileSync(`${hostKey}.pub`, 'utf8')}`);
    writeFileSync(authorizedKeys, `${keyOptions} ${readFileSync(`${userKey}.pub`, 'utf8')}`.trimStart(), {
      mode: 0o644,
    });
    writeFileSync(
      configFile,
      [...config, ...baseConfig({ host, port, hostKey, authorizedKeys, dir }).filter(isLeftTo(config))]
        .join('\n')
        .concat('\n'),
    );
  };

  /** True when it listens, false when somebody else has the port. */
  const launch = async (): Promise<boolean> => {
    writeFiles();
    const before = log().length;
    const said = () => log().slice(before);
    const fd = openSync(logFile, 'a');
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...wrap, binary, '-D', '-e', '-f', configFile], {
      stdio: ['ignore', fd, fd],
    });
    closeSync(fd);
    let failure: Error | undefined;
    child.once('error', (error) => {
      failure = error;
    });
    await until(
      `sshd listening on ${host}:${port}`,
      () => failure || child.exitCode !== null || child.signalCode !== null || said().includes(` port ${port}.`),
      { state: said },
    );
    if (failure) throw new Error('expected setpriv (util-linux) in PATH', { cause: failure });
    const process = child.pid === undefined ? undefined : processOf(child.pid);
    if (child.exitCode === null && child.signalCode === null && process) {
      listener = { child, process };
      return true;
    }
    if (/Bind to port \d+ on .* failed: Address already in use/.test(said())) return false;
    throw new Error(
      `${binary} ended with ${child.exitCode ?? child.signalCode}:\n${said()}\n${readFileSync(configFile, 'utf8')}`,
    );
  };

  const kill = async (part: Part = 'all', name: NodeJS.Signals = 'SIGKILL') => {
    // A connection accepted while we signal adds a session: look again until none is new.
    const aimed = new Map<number, Process>();
    sessions();
    for (let fresh = partOf(part); fresh.length > 0; fresh = partOf(part).filter(({ pid }) => !aimed.has(pid)))
      for (const one of fresh) {
        aimed.set(one.pid, one);
        signal(one, name);
      }
    await until(`${part} of sshd to end by ${name}`, () => ![...aimed.values()].some(isAlive), { state: log });
    if (part !== 'sessions') listener = undefined;
  };

  const stop = async () => {
    await kill();
    running.delete(end);
    rmSync(dir, { recursive: true, force: true });
  };
  /** For a test process that ends without stop(): synchronous. */
  const end = () => {
    for (const one of partOf('all')) signal(one, 'SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  };

  try {
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    appendFileSync(logFile, '');
    makeKey(hostKey, hostKeyType);
    makeKey(userKey, userKeyType);
    for (let attempt = 1; !(await launch()); attempt++) {
      if (options.port !== undefined || attempt === 20) throw new Error(`port ${port} of ${host} is in use`);
      port = await freePort(host);
    }
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  keepForExit(end);

  return {
    ...{ host, port, user, dir, hostKey, knownHosts, userKey, authorizedKeys, configFile, logFile, log, kill, stop },
    sshArgs: clientArgs({ port, knownHosts, userKey }),
    destination: `${user}@${host}`,
    listener: () => (listener && isAlive(listener.process) ? listener.process.pid : undefined),
    sessions: () => sessions().map(({ pid }) => pid),
    logged: async (pattern, deadlineMs = 60_000) => {
      await until(`sshd to log ${pattern}`, () => pattern.test(log()), { state: log, deadlineMs });
    },
    pause: (part = 'all') => {
      for (const one of partOf(part)) signal(one, 'SIGSTOP');
      // What the listener forked meanwhile.
      for (const one of partOf(part)) if (processOf(one.pid)?.state !== 'T') signal(one, 'SIGSTOP');
    },
    resume: (part = 'all') => {
      for (const one of partOf(part)) signal(one, 'SIGCONT');
    },
    restart: async (change = {}) => {
      await kill();
      config = change.config ?? config;
      keyOptions = change.keyOptions ?? keyOptions;
      if (change.newHostKey) {
        rmSync(hostKey);
        rmSync(`${hostKey}.pub`);
        const known = readFileSync(knownHosts);
        makeKey(hostKey, hostKeyType);
        await relaunch();
        // Clients keep the old key: that is what a changed host key is.
        writeFileSync(knownHosts, known);
      } else await relaunch();
    },
  };

  async function relaunch() {
    if (!(await launch())) throw new Error(`port ${port} of ${host} was taken by somebody else during a restart`);
  }
};

/** A new key pair without passphrase, unless one is given: PATH and PATH.pub. */
export const makeKey = (path: string, type: KeyType = 'ed25519', passphrase = ''): void => {
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', 'test', '-f', path]);
};

/** Everything a test may depend on is said here, so that a distribution's defaults do not decide a test. */
const baseConfig = (at: {
  host: string;
  port: number;
  hostKey: string;
  authorizedKeys: string;
  dir: string;
}): string[] => [
  `ListenAddress ${at.host.includes(':') ? `[${at.host}]` : at.host}:${at.port}`,
  `HostKey ${at.hostKey}`,
  `PidFile ${join(at.dir, 'sshd.pid')}`,
  `AuthorizedKeysFile ${at.authorizedKeys}`,
  // The keys lie below /tmp, which everybody may write.
  'StrictModes no',
  'UsePAM no',
  'UseDNS no',
  'PubkeyAuthentication yes',
  'PasswordAuthentication no',
  'KbdInteractiveAuthentication no',
  'PermitRootLogin yes',
  'AllowTcpForwarding yes',
  'AllowStreamLocalForwarding yes',
  'GatewayPorts no',
  'PermitTunnel no',
  'X11Forwarding no',
  'ClientAliveInterval 0',
  'TCPKeepAlive no',
  'MaxStartups 100',
  'MaxSessions 100',
  'PrintMotd no',
  'LogLevel VERBOSE',
];

/** sshd takes the first value of a keyword, but the last MaxStartups: that one must not come twice. */
const isLeftTo = (config: readonly string[]) => (line: string) =>
  !(line.startsWith('MaxStartups') && config.some((own) => /^MaxStartups\b/i.test(own)));

const clientArgs = ({ port, knownHosts, userKey }: { port: number; knownHosts: string; userKey: string }): string[] => [
  ...['-F', 'none', '-p', `${port}`, '-i', userKey],
  ...[
    'BatchMode=yes',
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${knownHosts}`,
    'GlobalKnownHostsFile=/dev/null',
    'UpdateHostKeys=no',
    'ExitOnForwardFailure=yes',
  ].flatMap((option) => ['-o', option]),
];

const running = new Set<() => void>();
let armed = false;
const keepForExit = (end: () => void): void => {
  if (!armed) process.once('exit', () => [...running].map((one) => one()));
  armed = true;
  running.add(end);
};
