import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { configMapData } from '../../src/api/hand-over.ts';
import type { PodStatus } from '../../src/supervisor/resident-http.ts';
import type { NetPath } from './netns.ts';
import { freePort } from './port.ts';
import { descendantsOf, isAlive, type Process } from './processes.ts';
import type { Sshd } from './sshd.ts';
import { tunnelOf } from './tunnels.ts';
import { until } from './until.ts';

const CHECKOUT = resolve(import.meta.dirname, '../..');

export type Resident = {
  readonly child: ChildProcess;
  /** Its private directory; TMPDIR too. */
  readonly root: string;
  /** When it was started, Unix milliseconds. */
  readonly startedAt: number;
  /** Where its volumes are mounted; `put` replaces a file there at once, as a volume's swap does. */
  put(path: string, content: string | null): void;
  /** The ConfigMap as the controller would write it for this specification. */
  configure(spec: Parameters<typeof tunnelOf>[0], metadata?: Metadata): void;
  /** What that ConfigMap holds. */
  data(spec: Parameters<typeof tunnelOf>[0], metadata?: Metadata): Record<string, string>;
  get(path: string): Promise<{ status: number; body: string }>;
  readonly url: string;
  status(): Promise<PodStatus>;
  /** Address of its page for a person. */
  readonly page: string;
  /** Waits until the status is so. */
  shows(what: string, is: (status: PodStatus) => boolean): Promise<PodStatus>;
  /** All that it wrote. */
  said(): string;
  /** Its log so far, one object per line. It is written apart from what HTTP answers, and may come a moment later. */
  log(): Line[];
  /** Waits until its log has such a line, and returns the first. */
  logged(what: string, is: (line: Line) => unknown): Promise<Line>;
  ssh(): Process | undefined;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL to the supervisor alone; its directories stay for the next one. Resolves with their root. */
  crash(): Promise<string>;
};

export type Line = Record<string, unknown>;

export type Metadata = { readonly generation?: number; readonly annotations?: Record<string, string> };

export type ResidentOptions = {
  /** The world that it runs in the client's end of; default: this machine's. */
  readonly path?: Pick<NetPath, 'at'> & Partial<Pick<NetPath, 'reach'>>;
  /** Its ports, where they are not to be free ones. */
  readonly ports?: { readonly http?: number; readonly page?: number };
  /** Directories that an earlier one left, with what was put there. */
  readonly root?: string;
  /** Who it runs as; only root can choose. */
  readonly uid?: number;
  /** More of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** More files in its volumes, there from the start; null takes one away. */
  readonly files?: Readonly<Record<string, string | null>>;
};

/**
 * Starts the sidecar's program on directories laid out as its container has them, with the key and host key of `sshd`; with a path, at
 * its client's end.
 */
export const startResident = async (
  sshd: Pick<Sshd, 'host' | 'port' | 'user' | 'userKey' | 'knownHosts'>,
  spec: Parameters<typeof tunnelOf>[0] | null,
  { uid, env = {}, files = {}, root: earlier, path, ports = {} }: ResidentOptions = {},
): Promise<Resident> => {
  const root = earlier ?? mkdtempSync(join(tmpdir(), 'res-'));
  const put = (path: string, content: string | null) => {
    const file = join(root, path);
    if (content === null) return rmSync(file, { force: true });
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${root}/next`, content, { mode: 0o444 });
    renameSync(`${root}/next`, file);
  };
  const data: Resident['data'] = (to, metadata = {}) => {
    const tunnel = tunnelOf({ ...to, ssh: { host: sshd.host, port: sshd.port, user: sshd.user, ...to?.ssh } });
    return configMapData({ ...tunnel, metadata: { ...tunnel.metadata, ...metadata } });
  };
  const configure: Resident['configure'] = (to, metadata) => {
    for (const [name, value] of Object.entries(data(to, metadata))) put(`config/${name}`, value);
  };
  if (earlier === undefined) {
    put('identity/target/key', readFileSync(sshd.userKey, 'utf8'));
    put('known-hosts/target/known_hosts', readFileSync(sshd.knownHosts, 'utf8'));
  }
  for (const [path, content] of Object.entries(files)) put(path, content);
  if (spec !== null) configure(spec);
  const port = ports.http ?? (await freePort());
  const args = ['sidecar', '--root', root, '--http-host', '127.0.0.1', '--http-port', String(port)];
  const pagePort = ports.page ?? (await freePort());
  args.push('--page-port', String(pagePort));
  if (uid !== undefined) chmodSync(root, 0o755);
  const startedAt = Date.now();
  // A test that is killed leaves no sidecar behind.
  const command = ['--pdeathsig', 'KILL', ...(uid === undefined ? [] : asUser(uid)), '--'];
  const [before, checkout] = uid === undefined ? [[], CHECKOUT] : [inTheOpen(CHECKOUT, '/mnt'), '/mnt'];
  const sidecar = join(checkout, 'dist', 'autossh-operator.cjs');
  const [program = '', ...words] = [...before, 'setpriv', ...command, ...(path?.at('client') ?? []), sidecar, ...args];
  const child = spawn(program, words, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: `${join(checkout, 'node_modules/node/bin')}:${process.env['PATH']}`,
      TMPDIR: uid === undefined ? root : '/dev/shm',
      NODE_OPTIONS: '',
      ...env,
    },
  });
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const exited = new Promise<number | null>((done) => child.once('exit', done));
  const socketPath = await path?.reach?.('client', port, join(root, 'http'));
  const get = (path: string) => ask(socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath }, path);
  const status = async () => JSON.parse((await get('/status')).body) as PodStatus;
  await until(
    'the probes to be served',
    () =>
      get('/livez').then(
        () => true,
        () => false,
      ),
    { deadlineMs: 60_000, state: () => text },
  );
  /** A last line that is not whole yet is none. */
  const log = (): Line[] =>
    text
      .split('\n')
      .slice(0, -1)
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);
  return {
    ...{ child, root, startedAt, put, configure, data, get, status },
    ...{ url: `http://127.0.0.1:${port}/`, page: `http://127.0.0.1:${pagePort}/` },
    said: () => text,
    shows: (what, is) =>
      until(
        what,
        async () => {
          const now = await status();
          return is(now) && now;
        },
        { deadlineMs: 60_000, everyMs: 50, state: () => text },
      ) as Promise<PodStatus>,
    log,
    logged: (what, is) => until(what, () => log().find(is), { deadlineMs: 60_000, state: () => text }),
    crash: async () => {
      const all = descendantsOf(child.pid ?? 0);
      child.kill('SIGKILL');
      await exited;
      await until('its processes to end', () => all.every((one) => !isAlive(one)));
      return root;
    },
    ssh: () =>
      descendantsOf(child.pid ?? 0).find((one) => one.name === 'ssh' && one.parent === child.pid && isTunnel(one)),
    stop: async () => {
      const all = descendantsOf(child.pid ?? 0);
      child.kill('SIGTERM');
      const code = await exited;
      await until('its processes to end', () => all.every((one) => !isAlive(one)));
      rmSync(root, { recursive: true, force: true });
      return code;
    },
  };
};

/** Clients of the control socket are called ssh too. */
const isTunnel = ({ pid }: Process): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes('-N');
  } catch {
    return false;
  }
};
/** Another user does not get into a checkout below /root: for the program alone it lies elsewhere, too. */
const inTheOpen = (dir: string, place: string) => [
  ...[
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-ec',
    'mount --bind "$0" "$1"; cd "$1"; shift; exec "$@"',
  ],
  ...[dir, place],
];
const asUser = (uid: number) => [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs'];
const ask = (to: RequestOptions, path: string) =>
  new Promise<{ status: number; body: string }>((resolve, reject) => {
    const call = request({ ...to, path, agent: false }, async (answer) => {
      resolve({ status: answer.statusCode ?? 0, body: await textOf(answer) });
    });
    call.on('error', reject).end();
  });
