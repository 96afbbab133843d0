import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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

const SIDECAR = resolve(import.meta.dirname, '../../dist/autossh-operator.cjs');

export type Resident = {
  readonly child: ChildProcess;
  /** When it was started, Unix milliseconds. */
  readonly startedAt: number;
  /** Where its volumes are mounted; `put` replaces a file there at once, as a volume's swap does. */
  put(path: string, content: string | null): void;
  /** The ConfigMap as the controller would write it for this specification. */
  configure(spec: Parameters<typeof tunnelOf>[0]): void;
  get(path: string): Promise<{ status: number; body: string }>;
  status(): Promise<PodStatus>;
  /** Waits until the status is so. */
  shows(what: string, is: (status: PodStatus) => boolean): Promise<PodStatus>;
  /** Its log so far, one object per line. */
  log(): Record<string, unknown>[];
  ssh(): Process | undefined;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
};

/**
 * Starts the sidecar's program on directories laid out as its container has them, with the key and host key of `sshd`; with a path, at
 * its client's end.
 */
export const startResident = async (
  sshd: Pick<Sshd, 'host' | 'port' | 'user' | 'userKey' | 'knownHosts'>,
  spec: Parameters<typeof tunnelOf>[0] | null,
  path?: Pick<NetPath, 'at' | 'reach'>,
): Promise<Resident> => {
  const root = mkdtempSync(join(tmpdir(), 'res-'));
  const put = (path: string, content: string | null) => {
    const file = join(root, path);
    if (content === null) return rmSync(file, { force: true });
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${root}/next`, content, { mode: 0o444 });
    renameSync(`${root}/next`, file);
  };
  const configure = (to: Parameters<typeof tunnelOf>[0]) => {
    const ssh = { host: sshd.host, port: sshd.port, user: sshd.user, ...to?.ssh };
    for (const [name, value] of Object.entries(configMapData(tunnelOf({ ...to, ssh })))) put(`config/${name}`, value);
  };
  put('identity/target/key', readFileSync(sshd.userKey, 'utf8'));
  put('known-hosts/target/known_hosts', readFileSync(sshd.knownHosts, 'utf8'));
  if (spec !== null) configure(spec);
  const port = await freePort();
  const args = ['sidecar', '--root', root, '--http-host', '127.0.0.1', '--http-port', String(port)];
  const startedAt = Date.now();
  // A test that is killed leaves no sidecar behind.
  const command = ['--pdeathsig', 'KILL', '--', ...(path?.at('client') ?? []), SIDECAR, ...args];
  const child = spawn('setpriv', command, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], TMPDIR: root, NODE_OPTIONS: '' },
  });
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const exited = new Promise<number | null>((done) => child.once('exit', done));
  const socketPath = await path?.reach('client', port, join(root, 'http'));
  const get = (path: string) => ask(socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath }, path);
  const status = async () => JSON.parse((await get('/status')).body) as PodStatus;
  await until(
    'the probes to be served',
    () =>
      get('/livez').then(
        () => true,
        () => false,
      ),
    { state: () => text },
  );
  return {
    ...{ child, startedAt, put, configure, get, status },
    shows: (what, is) =>
      until(
        what,
        async () => {
          const now = await status();
          return is(now) && now;
        },
        { deadlineMs: 60_000, state: () => text },
      ) as Promise<PodStatus>,
    log: () =>
      text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    ssh: () => descendantsOf(child.pid ?? 0).find(({ name, parent }) => name === 'ssh' && parent === child.pid),
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

const ask = (to: RequestOptions, path: string) =>
  new Promise<{ status: number; body: string }>((resolve, reject) => {
    const call = request({ ...to, path, agent: false }, async (answer) => {
      resolve({ status: answer.statusCode ?? 0, body: await textOf(answer) });
    });
    call.on('error', reject).end();
  });
