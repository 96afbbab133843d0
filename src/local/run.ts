import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { configMapData, documentOf } from '../api/hand-over.ts';
import { TUNNEL_VARIABLE } from '../api/mounts.ts';
import { HEALTH_PORT, pagePortOf } from '../api/names.ts';
import { sidecarOf } from '../api/ssh-tunnel.ts';
import { ensureOwnDirectory } from '../supervisor/own-directory.ts';
import { errorText } from '../supervisor/system-error.ts';
import { createJsonLog, type Fields, type JsonLog } from '../telemetry/json-log.ts';
import type { LogFormat } from '../telemetry/pretty-log.ts';
import { createSink } from '../telemetry/sink.ts';
import { untilTold } from './end-signal.ts';
import { forwardText } from './forward-text.ts';
import { nextFreePort } from './free-port.ts';
import { readGiven } from './given.ts';
import type { LocalTunnel } from './judge.ts';
import { type Kept, keepProcess } from './keep-process.ts';
import { type Inputs, load } from './load.ts';
import type { LocalFiles } from './local-tunnel.ts';
import { makePrivateDirectory } from './private-directory.ts';
import { readSources } from './read-sources.ts';
import type { Streams } from './read-streams.ts';
import { makeTunnelDirectory, TEMPORARY, type TunnelDirectory } from './tunnel-directory.ts';
import { violationText } from './violation.ts';
import { watchSources } from './watch-sources.ts';

export type RunOptions = Inputs & {
  readonly streams: Streams;
  /** First port to try for probes, metrics and status; each tunnel has one of its own. */
  readonly httpPort?: number | undefined;
  readonly logFormat: LogFormat;
  /** What starts the process of one tunnel; its directory and its options are put behind. */
  readonly one: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
};

const FLUSH_MS = 1_000;
/** How soon it is seen that the files of a tunnel were taken away. */
const MEND_EVERY_MS = 1_000;
/** What a shell says of a program that SIGINT ended. */
const INTERRUPTED = 130;

/**
 * Runs every tunnel of the files until told to end, each in a process of its own, and follows the files: what an edit adds starts, what
 * it changes is applied, what it takes away ends, and an edit that makes no sense is refused. Resolves with the exit code: 0 after a
 * clean end, 1 where the files were refused at the start.
 */
export const run = async (options: RunOptions): Promise<number> => {
  const first = hashOf(options);
  const loaded = load(options, options.streams, 'run');
  if (loaded.violations.length > 0) {
    process.stderr.write(loaded.violations.map((one) => `${violationText(one)}\n`).join(''));
    return 1;
  }
  const stderr = createSink(2);
  const log = createJsonLog(stderr, { program: 'autossh-operator' }, options.logFormat);
  const stop = untilTold();
  const base = makePrivateDirectory();
  try {
    if (loaded.ignored.length > 0) log.line(6, 'not for this command', { objects: loaded.ignored.join(', ') });
    const tunnels = runTunnels(base, options, log);
    tunnels.become(loaded.tunnels);
    const watch = watchSources(
      first,
      () => hashOf(options),
      () => {
        const next = load(options, options.streams, 'run');
        for (const violation of next.violations)
          log.line(3, 'the edit is refused; what runs stays', { problem: violationText(violation) });
        if (next.violations.length === 0) tunnels.become(next.tunnels);
      },
    );
    const mending = setInterval(tunnels.mend, MEND_EVERY_MS);
    stop.again(tunnels.kill);
    await stop.told;
    clearInterval(mending);
    watch.stop();
    log.line(6, 'told to end');
    await tunnels.end();
  } finally {
    rmSync(base, { recursive: true, force: true });
    await stderr.flush(FLUSH_MS);
  }
  return stop.times() > 1 ? INTERRUPTED : 0;
};

type Ports = { readonly http: number; readonly page: number };
type Running = { tunnel: LocalTunnel; generation: number; readonly kept: Kept; readonly directory: TunnelDirectory };

/** The tunnels that run now, and their way to become others. */
const runTunnels = (base: string, { one, env, httpPort = HEALTH_PORT, logFormat }: RunOptions, log: JsonLog) => {
  const running = new Map<string, Running>();
  const ending = new Set<Promise<void>>();
  /** Ports stay their tunnel's for the time of the run, so that whoever looks there finds it again. */
  const ports = new Map<string, Ports>();
  const oneByOne = queue();
  let wanted: readonly LocalTunnel[] = [];
  let born = 0;
  /** Why files that were taken away cannot be made anew, told once. */
  const unmended = new Map<string, string>();
  /** Those whose tunnel is gone, too: they may take their time, or stand still. */
  const processes = new Set<Kept>();

  const start = (tunnel: LocalTunnel): void => {
    const directory = makeTunnelDirectory(join(base, String(born++)));
    directory.put(filesOf(tunnel, 1));
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
    const ended = kept
      .end()
      .then(() => processes.delete(kept))
      .then(directory.remove);
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
        one.directory.put(filesOf(tunnel, one.generation));
        log.line(6, 'tunnel changes', { tunnel: tunnel.id, generation: one.generation, forwards: forwardsOf(tunnel) });
      }
    }
  };

  /** A logout of the user may take the whole directory of the run away, keys and all, while the run goes on. */
  const mend = (): void => {
    for (const [id, { tunnel, generation, directory }] of running) {
      const files = filesOf(tunnel, generation);
      if (directory.has(files)) continue;
      try {
        ensureOwnDirectory(base);
        directory.put(files);
        log.line(4, 'its files were taken away: they are made anew', { tunnel: id });
      } catch (error) {
        const problem = errorText(error);
        if (problem !== unmended.get(id)) log.line(3, 'its files were taken away', { tunnel: id, problem });
        unmended.set(id, problem);
        continue;
      }
      unmended.delete(id);
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

/** All that an edit can change, keys among it, as a hash. */
const hashOf = ({ files, identity, knownHosts, streams }: RunOptions): string => {
  const { sources } = readSources(files, streams);
  const { given } = readGiven(identity, knownHosts, streams);
  const hash = createHash('sha256');
  for (const { file, text } of sources) hash.update(`${file}\0${text}\0`);
  for (const content of [given.identity?.key, given.identity?.certificate, given.knownHosts?.lines])
    hash.update(content ?? '').update('\0');
  return hash.digest('hex');
};
