import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { MOUNT_ROOT } from '../api/mounts.ts';
import { REASONS } from '../api/reasons.ts';
import { createJsonLog, type JsonLog } from '../telemetry/json-log.ts';
import { createTunnelMetrics, type TunnelMetrics } from '../telemetry/metrics.ts';
import { createSink } from '../telemetry/sink.ts';
import { residentPolicy } from '../tunnel/policy-resident.ts';
import { longestSilenceMs, narrate, newResidentState, observe, type ResidentState } from '../tunnel/resident-state.ts';
import { sshCommand } from '../tunnel/ssh-args.ts';
import { createControlSocket } from './control-socket.ts';
import type { Heartbeat } from './heartbeat.ts';
import { channelHeartbeat } from './heartbeat-channel.ts';
import { noHeartbeat } from './heartbeat-fixed.ts';
import { LONGEST_BEAT_MS, patientHeartbeat } from './heartbeat-patient.ts';
import { prepareLogins } from './login-files.ts';
import { type ReadConfig, type ResidentConfig, readResidentConfig } from './resident-config.ts';
import { type ResidentView, serveResident } from './resident-http.ts';
import { type Launch, type Running, runTunnel, type Unable } from './run-tunnel.ts';
import { glanceAt } from './ssh-traffic.ts';
import { createStderrRelay } from './stderr-relay.ts';
import { trimMemoryLater } from './trim-memory.ts';
import { watchFiles } from './watch-files.ts';

export type ResidentOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where probes, metrics and status are served. */
  readonly listen: { readonly host?: string | undefined; readonly port: number };
  readonly version: string;
  /** Where the volumes of the tunnel are mounted. */
  readonly root?: string;
};

/** An ssh without a terminal has nothing to put right: one that does not go at once is stuck. */
const KILL_GRACE_MS = 2_000;
const FLUSH_MS = 1_000;
const TICK_MS = 1_000;
/** Beyond this the supervisor itself is stuck; far above what a busy node may delay. */
const STUCK_MS = 30_000;

/**
 * The sidecar: keeps the one tunnel of its configuration up until SIGTERM, whatever happens; resolves with the exit code. What cannot
 * work yet (no configuration, no key, a server that refuses) is reported over HTTP and in the log by a process that waits.
 */
export const superviseResident = async (options: ResidentOptions): Promise<number> => {
  const stderr = createSink(2);
  const log = createJsonLog(stderr, { program: 'autossh' });
  const stopped = new AbortController();
  const stop = (name: 'SIGTERM' | 'SIGINT') => stopped.abort(constants.signals[name]);
  process.once('SIGTERM', () => stop('SIGTERM'));
  process.once('SIGINT', () => stop('SIGINT'));
  let read = readResidentConfig(options.env, options.root);
  warn(read, log);
  const metrics = createTunnelMetrics(nameOf(read), options.version, REASONS);
  let view = (): ResidentView => waiting(read);
  const server = await serveResident(() => view(), metrics, options.listen);
  log.line(6, 'probes, metrics and status', { port: options.listen.port });
  try {
    read = await configured(read, options, log, stopped.signal);
    if (!read.ok) return 0;
    const resident = keepUp(read.config, options, log, metrics, stopped.signal);
    view = resident.view;
    return await resident.done;
  } finally {
    server.close();
    server.closeAllConnections();
    await stderr.flush(FLUSH_MS);
  }
};

const nameOf = (read: ReadConfig): string => (read.ok ? read.config.document.name : '');

const warn = (read: ReadConfig, log: JsonLog): void => {
  if (!read.ok) log.line(3, 'waiting for a configuration', { problem: read.problem });
  else for (const warning of read.warnings) log.line(4, 'setting left out', { problem: warning });
};

const waiting = (read: ReadConfig): ResidentView => ({
  state: { ...newResidentState, reason: 'BadConfiguration' },
  ...{ tunnel: nameOf(read), generation: 0, method: 'None', waitsForTunnel: true, unwell: null },
  configProblem: read.ok ? null : read.problem,
});

/** Waits for a configuration that can be run; ends early, without one, when told to stop. */
const configured = (
  first: ReadConfig,
  { env, root = MOUNT_ROOT }: ResidentOptions,
  log: JsonLog,
  stop: AbortSignal,
): Promise<ReadConfig> =>
  new Promise((resolve) => {
    if (first.ok || stop.aborted) return resolve(first);
    const files = watchFiles(configDirectories(root), () => {
      const read = readResidentConfig(env, root);
      warn(read, log);
      if (read.ok) finish(read);
    });
    const finish = (read: ReadConfig) => {
      files.stop();
      resolve(read);
    };
    stop.addEventListener('abort', () => finish(first), { once: true });
  });

const SLOTS = ['target', 'hop-1', 'hop-2', 'hop-3', 'hop-4'];
const configDirectories = (root: string) => (): string[] => [
  join(root, 'config'),
  ...Array.from({ length: 8 }, (_, index) => join(root, 'env', String(index))),
];
const loginDirectories = (root: string) => (): string[] =>
  SLOTS.flatMap((slot) => [join(root, 'identity', slot), join(root, 'known-hosts', slot)]);

type Resident = { readonly done: Promise<number>; readonly view: () => ResidentView };

const keepUp = (
  first: ResidentConfig,
  { env, root = MOUNT_ROOT }: ResidentOptions,
  log: JsonLog,
  metrics: TunnelMetrics,
  stop: AbortSignal,
): Resident => {
  let config = first;
  let configProblem: string | null = null;
  let state: ResidentState = newResidentState;
  let method = 'None';
  let lastEventAt = performance.now();
  let recycle: NodeJS.Timeout | undefined;
  const dir = mkdtempSync(join(tmpdir(), 'autossh-login-'));
  const relay = createStderrRelay({
    write: (bytes) => {
      for (const line of bytes.toString().trimEnd().split('\n')) log.line(6, 'ssh', { line });
    },
    flush: async () => {},
  });

  const launch = (): Launch | Unable => {
    const logins = prepareLogins(config.document, dir, root);
    if (!logins.ok) return { unable: logins.failure };
    const { argv, files, env: sshEnv } = sshCommand(config.document, logins.places);
    for (const { path, content } of files) writeFileSync(path, content, { mode: 0o600 });
    const childEnv = { ...env, ...sshEnv, SSH_AUTH_SOCK: undefined };
    const heartbeat =
      config.method === 'None'
        ? noHeartbeat
        : channelHeartbeat({
            control: createControlSocket('ssh', childEnv),
            message: config.message,
            timeoutMs: LONGEST_BEAT_MS,
            log: ({ level, text }) => log.line(level >= 7 ? 7 : level >= 5 ? 6 : 4, text),
            expectNoise: relay.expectNoise,
          });
    return { path: 'ssh', args: argv, env: childEnv, attached: false, heartbeat: patiently(heartbeat) };
  };

  const patiently = (heartbeat: Heartbeat): Heartbeat =>
    patientHeartbeat(heartbeat, {
      get timeoutMs() {
        return config.timeoutMs;
      },
      glance: () => {
        const { pid } = running.tunnel();
        return pid === null ? null : glanceAt(pid);
      },
      onSlow: (waitedMs) => running.dispatch({ type: 'beatSlow', waitedMs }),
    });

  const connectDeadline = () => {
    const { ssh, jumpHosts } = config.document;
    // ssh's own timeout bounds each TCP connection; login and forwards need a time of their own, at every hop.
    return [ssh, ...jumpHosts].reduce((sum, { options }) => sum + options.connectTimeoutSeconds * 1000 + 10_000, 0);
  };
  const bornAt = performance.now();
  const running: Running = runTunnel({
    // Getters: a changed configuration is in force at the next decision.
    policy: residentPolicy({
      bornAt,
      get periodMs() {
        return config.periodMs;
      },
      // The first beat proves the connection, so it is not waited for.
      firstBeatMs: 0,
      get failureThreshold() {
        return config.failureThreshold;
      },
      get connectDeadlineMs() {
        return connectDeadline();
      },
      killGraceMs: KILL_GRACE_MS,
      get provenMs() {
        return config.provenMs;
      },
      get retry() {
        return config.retry;
      },
    }),
    bornAt,
    launch: () => {
      const launched = launch();
      if ('heartbeat' in launched) current = launched.heartbeat;
      return launched;
    },
    onStderr: relay.push,
    onTransition: (before, event, after, now) => {
      lastEventAt = now.at;
      const was = state;
      state = observe(state, before, event, after, Date.now());
      count(was, state, event.type === 'spawned');
      metrics.backoff(after.state === 'Waiting' ? after.pauseMs / 1000 : 0);
      if (event.type === 'beatOk') metrics.heartbeat(event.rttMs / 1000, Date.now() / 1000);
      const line = narrate(before, event, after, now);
      if (line !== null) log.line(line.level, line.message, line.fields);
      if (!was.connected && state.connected) lifetime();
    },
  });
  let current: { readonly method: string } = noHeartbeat;

  const count = (was: ResidentState, is: ResidentState, started: boolean): void => {
    if (started) metrics.started();
    if (is.failures > was.failures) metrics.disconnected(is.reason ?? 'Unknown');
    if (is.connected !== was.connected) {
      metrics.up(is.connected);
      for (const { name } of config.document.forwards) metrics.forward(name, is.connected);
    }
  };
  /** AUTOSSH_MAXLIFETIME: a connection that lived this long is replaced by a fresh one. */
  const lifetime = (): void => {
    clearTimeout(recycle);
    if (config.maxLifetimeMs === null) return;
    const { pid } = running.tunnel();
    const replace = () => {
      if (running.tunnel().pid === pid) running.dispatch({ type: 'restart', why: 'lifetime' });
    };
    recycle = setTimeout(replace, Math.min(config.maxLifetimeMs, 0x7fffffff));
  };
  const tick = setInterval(() => {
    if (state.connected) metrics.connectedFor(TICK_MS / 1000);
    method = current.method;
    metrics.method(method);
  }, TICK_MS);

  const apply = (): void => {
    const { document } = config;
    log.threshold(config.logLevel);
    metrics.configuration({
      generation: document.generation,
      suspended: document.suspend,
      insecureHostKey: document.knownHosts.some(({ source }) => source === 'Insecure'),
    });
    for (const { name } of document.forwards) metrics.forward(name, state.connected);
  };
  const changed = (): void => {
    const read = readResidentConfig(env, root);
    configProblem = read.ok ? null : read.problem;
    if (!read.ok) {
      log.line(3, 'new configuration refused; the old one stays', { problem: read.problem });
      return;
    }
    warn(read, log);
    const before = config.document;
    config = read.config;
    apply();
    const after = config.document;
    log.line(6, 'new configuration', { generation: after.generation });
    if (after.suspend !== before.suspend) running.dispatch({ type: after.suspend ? 'suspend' : 'resume' });
    else if (connectionOf(after) !== connectionOf(before)) running.dispatch({ type: 'restart', why: 'changed' });
    else if (after.retryToken !== before.retryToken && !state.connected)
      running.dispatch({ type: 'restart', why: 'asked' });
  };
  const configFiles = watchFiles(configDirectories(root), changed);
  const loginFiles = watchFiles(loginDirectories(root), () => {
    log.line(6, 'keys or host keys changed: in force at the next connection');
    if (running.tunnel().state === 'Waiting') running.dispatch({ type: 'restart', why: 'changed' });
  });

  const view = (): ResidentView => ({
    state,
    ...{ tunnel: config.document.name, generation: config.document.generation, configProblem },
    method: current.method,
    waitsForTunnel: config.document.startup === 'WaitForTunnel',
    unwell: unwell(),
  });
  const unwell = (): string | null => {
    const limit = longestSilenceMs(running.tunnel(), {
      connectDeadlineMs: connectDeadline(),
      ...{ periodMs: config.periodMs, timeoutMs: config.timeoutMs, killGraceMs: KILL_GRACE_MS },
    });
    if (limit !== null && performance.now() - lastEventAt > limit + STUCK_MS) return 'the supervision is stuck';
    const deadline = config.livenessDeadlineMs;
    if (deadline === null || state.suspended) return null;
    const since = state.lastBeatAt ?? Date.now() - (performance.now() - bornAt);
    return Date.now() - since > deadline ? `no heartbeat for ${deadline / 1000} s` : null;
  };

  apply();
  stop.addEventListener('abort', () => running.dispatch({ type: 'stop', signal: Number(stop.reason) }), { once: true });
  running.dispatch({ type: first.document.suspend ? 'suspend' : 'start' });
  if (stop.aborted) running.dispatch({ type: 'stop', signal: Number(stop.reason) });
  trimMemoryLater();
  const done = running.done.finally(() => {
    clearInterval(tick);
    clearTimeout(recycle);
    configFiles.stop();
    loginFiles.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return { done, view };
};

/** What a living connection was made of: another one is needed when this changes. */
const connectionOf = ({ ssh, jumpHosts, identities, knownHosts, forwards }: ResidentConfig['document']): string =>
  JSON.stringify([ssh, jumpHosts, identities, knownHosts, forwards]);
