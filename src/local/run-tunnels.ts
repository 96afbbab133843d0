import { join } from 'node:path';
import { configMapData, documentOf } from '../api/hand-over.ts';
import { TUNNEL_VARIABLE } from '../api/mounts.ts';
import { HEALTH_PORT, pagePortOf } from '../api/names.ts';
import { sidecarOf } from '../api/ssh-tunnel.ts';
import { ensureOwnDirectory, isOwnDirectory, NotOwnError } from '../supervisor/own-directory.ts';
import { errorText } from '../supervisor/system-error.ts';
import type { Fields, JsonLog } from '../telemetry/json-log.ts';
import { forwardText } from './forward-text.ts';
import { nextFreePort } from './free-port.ts';
import type { LocalTunnel } from './judge.ts';
import { type Kept, keepProcess } from './keep-process.ts';
import type { LocalFiles } from './local-tunnel.ts';
import type { RunOptions } from './run.ts';
import { makeTunnelDirectory, TEMPORARY, type TunnelDirectory } from './tunnel-directory.ts';

type Options = Pick<RunOptions, 'one' | 'env' | 'httpPort' | 'logFormat'>;
type Ports = { readonly http: number; readonly page: number };
type Running = { tunnel: LocalTunnel; generation: number; readonly kept: Kept; readonly directory: TunnelDirectory };

/** The tunnels that run now, and their way to become others. */
export const runTunnels = (base: string, { one, env, httpPort = HEALTH_PORT, logFormat }: Options, log: JsonLog) => {
  const running = new Map<string, Running>();
  const ending = new Set<Promise<void>>();
  /** Ports stay their tunnel's for the time of the run, so that whoever looks there finds it again. */
  const ports = new Map<string, Ports>();
  const oneByOne = queue();
  let wanted: readonly LocalTunnel[] = [];
  let born = 0;
  /** Why the files of a tunnel cannot be written, told once. */
  const unwritten = new Map<string, string>();
  /** Those whose tunnel is gone, too: they may take their time, or stand still. */
  const processes = new Set<Kept>();

  /** Its files, as they are wanted now. What cannot be written now is tried again by mend: nobody else is to suffer for it. */
  const provide = (id: string, { tunnel, generation, directory }: Omit<Running, 'kept'>): boolean => {
    try {
      ensureOwnDirectory(base);
      directory.put(filesOf(tunnel, generation));
      unwritten.delete(id);
      return true;
    } catch (error) {
      if (error instanceof NotOwnError) throw error;
      const problem = errorText(error);
      if (problem !== unwritten.get(id)) log.line(3, 'its files cannot be written', { tunnel: id, problem });
      unwritten.set(id, problem);
      return false;
    }
  };

  const start = (tunnel: LocalTunnel): void => {
    const directory = makeTunnelDirectory(join(base, String(born++)));
    provide(tunnel.id, { tunnel, generation: 1, directory });
    const args = async () => {
      const before = ports.get(tunnel.id);
      const first = before?.http ?? sidecarOf(tunnel.tunnel.spec).healthPort ?? httpPort;
      const { http, page } = await oneByOne(async () => {
        const http = await nextFreePort(first, taken(tunnel.id));
        const page = await nextFreePort(before?.page ?? pagePortOf(http), taken(tunnel.id).add(http));
        ports.set(tunnel.id, { http, page });
        return { http, page };
      });
      log.line(6, 'tunnel starts', announcement(running.get(tunnel.id)?.tunnel ?? tunnel, { http, page }));
      const options = { tunnel: tunnel.id, 'http-port': http, 'page-port': page, 'log-format': logFormat };
      return [
        ...[...one, directory.path],
        ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
      ];
    };
    const onLost = (why: string, pauseMs: number) =>
      log.line(3, 'its supervisor ended; it is started again', { tunnel: tunnel.id, why, pauseMs });
    const onStuck = () => log.line(4, 'its supervisor does not end: it is killed', { tunnel: tunnel.id });
    const childEnv = { ...env, [TUNNEL_VARIABLE]: undefined, TMPDIR: join(directory.path, TEMPORARY) };
    const kept = keepProcess({ args, env: childEnv, onLost, onStuck });
    processes.add(kept);
    running.set(tunnel.id, { tunnel, generation: 1, directory, kept });
  };

  /** Ports that are promised: to other tunnels' probes, and to forwards. */
  const taken = (id: string): Set<number> =>
    new Set([
      ...[...ports].filter(([other]) => other !== id).flatMap(([, { http, page }]) => [http, page]),
      ...wanted.flatMap(listenPorts),
    ]);

  const end = (id: string, { kept, directory }: Running): void => {
    running.delete(id);
    unwritten.delete(id);
    const ended = kept
      .end()
      .then(() => processes.delete(kept))
      .then(() => {
        if (isOwnDirectory(base)) directory.remove();
      });
    ending.add(ended);
    void ended.then(() => ending.delete(ended));
  };

  const become = (tunnels: readonly LocalTunnel[]): void => {
    wanted = tunnels;
    const ids = new Set(tunnels.map(({ id }) => id));
    for (const [id, one] of [...running].filter(([id]) => !ids.has(id))) {
      log.line(6, 'tunnel is gone from the files: it ends', { tunnel: id });
      end(id, one);
    }
    for (const tunnel of tunnels) {
      const one = running.get(tunnel.id);
      if (one === undefined) start(tunnel);
      else if (!sameFiles(one.tunnel.files, tunnel.files)) {
        one.generation++;
        one.tunnel = tunnel;
        provide(tunnel.id, one);
        log.line(6, 'tunnel changes', { tunnel: tunnel.id, generation: one.generation, forwards: forwardsOf(tunnel) });
      }
    }
  };

  /**
   * A logout of the user may take the whole directory of the run away, keys and all, while the run goes on: it is made anew. Throws a
   * NotOwnError where somebody else has put something in its place.
   */
  const mend = (): void => {
    for (const [id, one] of running) {
      if (isOwnDirectory(base) && one.directory.isWhole()) unwritten.delete(id);
      else if (provide(id, one)) log.line(4, 'its files were taken away: they are made anew', { tunnel: id });
    }
  };

  return {
    become,
    mend,
    kill: () => {
      for (const process of processes) process.kill();
    },
    end: async () => {
      for (const [id, one] of [...running]) end(id, one);
      await Promise.all(ending);
    },
  };
};

/** One after the other: two that looked for a port at the same time would find the same one. */
const queue = () => {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(job: () => Promise<T>): Promise<T> => {
    const mine = last.then(job, job);
    last = mine;
    return mine;
  };
};

const forwardsOf = ({ tunnel }: LocalTunnel): string => documentOf(tunnel).forwards.map(forwardText).join('; ');

const announcement = (tunnel: LocalTunnel, { http, page }: Ports): Fields => {
  const { user, host, port: sshPort } = tunnel.tunnel.spec.ssh;
  return {
    tunnel: tunnel.id,
    server: `${user}@${host}:${sshPort}`,
    forwards: forwardsOf(tunnel),
    page: `http://127.0.0.1:${page}/`,
    status: `http://127.0.0.1:${http}/`,
  };
};

const listenPorts = ({ tunnel }: LocalTunnel): number[] =>
  documentOf(tunnel).forwards.flatMap(({ kind, listen }) =>
    kind !== 'remote' && 'port' in listen ? [listen.port] : [],
  );

/** The tree of files, with the number of edits as the generation that metrics and status show. */
const filesOf = ({ tunnel, files }: LocalTunnel, generation: number): LocalFiles => {
  const data = configMapData({ ...tunnel, metadata: { ...tunnel.metadata, generation } });
  return new Map([...files, [`config/${TUNNEL_VARIABLE}`, Buffer.from(data[TUNNEL_VARIABLE] ?? '')]]);
};

const sameFiles = (a: LocalFiles, b: LocalFiles): boolean =>
  a.size === b.size && [...a].every(([name, content]) => Buffer.compare(content, b.get(name) ?? Buffer.of()) === 0);
