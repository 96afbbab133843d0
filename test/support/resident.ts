import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { configMapData } from '../../src/api/hand-over.ts';
import type { PodStatus } from '../../src/supervisor/resident-http.ts';
import { freePort } from './port.ts';
import { descendantsOf, isAlive, type Process } from './processes.ts';
import type { Sshd } from './sshd.ts';
import { tunnelOf } from './tunnels.ts';
import { until } from './until.ts';

const SIDECAR = resolve(import.meta.dirname, '../../dist/autossh-operator.cjs');

export type Resident = {
  readonly child: ChildProcess;
  /** Where its volumes are mounted; `put` replaces a file there at once, as a volume's swap does. */
  put(path: string, content: string | null): void;
  /** The ConfigMap as the controller would write it for this specification. */
  configure(spec: Parameters<typeof tunnelOf>[0], metadata?: Metadata): void;
  /** What that ConfigMap holds. */
  data(spec: Parameters<typeof tunnelOf>[0], metadata?: Metadata): Record<string, string>;
  readonly root: string;
  get(path: string): Promise<{ status: number; body: string }>;
  status(): Promise<PodStatus>;
  /** Waits until the status is so. */
  shows(what: string, is: (status: PodStatus) => boolean): Promise<PodStatus>;
  /** Its log so far, one object per line. */
  log(): Record<string, unknown>[];
  ssh(): Process | undefined;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL to the supervisor alone; its directories stay for the next one. Resolves with their root. */
  crash(): Promise<string>;
};

export type Metadata = { readonly generation?: number; readonly annotations?: Record<string, string> };

export type ResidentOptions = {
  /** Directories that an earlier one left, with what was put there. */
  readonly root?: string;
  /** More of its environment. */
  readonly env?: Readonly<Record<string, string>>;
};

/** Starts the sidecar's program on directories laid out as its container has them, with the key and host key of `sshd`. */
export const startResident = async (
  sshd: Sshd,
  spec: Parameters<typeof tunnelOf>[0] | null,
  options: ResidentOptions = {},
): Promise<Resident> => {
  const root = options.root ?? mkdtempSync(join(tmpdir(), 'res-'));
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
  if (options.root === undefined) {
    put('identity/target/key', readFileSync(sshd.userKey, 'utf8'));
    put('known-hosts/target/known_hosts', readFileSync(sshd.knownHosts, 'utf8'));
  }
  if (spec !== null) configure(spec);
  const port = await freePort();
  const args = ['sidecar', '--root', root, '--http-host', '127.0.0.1', '--http-port', String(port)];
  const child = spawn(SIDECAR, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], TMPDIR: root, NODE_OPTIONS: '', ...options.env },
  });
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const exited = new Promise<number | null>((done) => child.once('exit', done));
  const get = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: answer.status, body: await answer.text() };
  };
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
    ...{ child, put, configure, data, root, get, status },
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
    crash: async () => {
      const all = descendantsOf(child.pid ?? 0);
      child.kill('SIGKILL');
      await exited;
      await until('its processes to end', () => all.every((one) => !isAlive(one)));
      return root;
    },
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
