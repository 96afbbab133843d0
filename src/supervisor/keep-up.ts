import { rmSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { MOUNT_ROOT } from '../api/mounts.ts';
import type { JsonLog } from '../telemetry/json-log.ts';
import type { TunnelMetrics } from '../telemetry/metrics.ts';
import {
  changeBetween,
  changesBeats,
  isLoginReason,
  loginFilesChanged,
  type Standing,
} from '../tunnel/config-change.ts';
import { connectedTime } from '../tunnel/connected-time.ts';
import { type ForwardState, forwardStates, missingForwards } from '../tunnel/forward-state.ts';
import { LineSplitter } from '../tunnel/lines.ts';
import type { Tunnel } from '../tunnel/machine.ts';
import { narrate } from '../tunnel/narrate.ts';
import { isRepeating, noOutage } from '../tunnel/quiet-repeats.ts';
import { hasEnded, newResidentState, observe, type ResidentState } from '../tunnel/resident-state.ts';
import { unwellReason } from '../tunnel/unwell.ts';
import { notYetWhole, type Whole, wholeAfter } from '../tunnel/whole.ts';
import { backoffFile } from './backoff-file.ts';
import { childEnv } from './child-env.ts';
import { configDirectories, loginDirectories } from './config-directories.ts';
import { followProbes } from './follow-probes.ts';
import { followForwards } from './live-forwards.ts';
import { connectDeadlineMs, KILL_GRACE_MS, livePolicy } from './live-policy.ts';
import { createLogins } from './login-files.ts';
import { makeMemoryDirectory } from './memory-directory.ts';
import { noteRefusals } from './refusals.ts';
import type { ConfigReader, ReadConfig, ResidentConfig } from './resident-config.ts';
import type { ResidentView } from './resident-http.ts';
import { launchResident, type ResidentLaunch } from './resident-launch.ts';
import { type Running, runTunnel } from './run-tunnel.ts';
import { glanceAt } from './ssh-traffic.ts';
import { createStderrRelay } from './stderr-relay.ts';
import { trimMemoryLater } from './trim-memory.ts';
import { watchFiles } from './watch-files.ts';

const TICK_MS = 1_000;
/** Instead of ssh's words: those were not kept. */
const AS_BEFORE = 'as before the restart of this supervisor';
/** A beat has so many steps at most, each with its own timeout. */
const BEAT_STEPS = 3;

export type Resident = { readonly done: Promise<number>; readonly view: () => ResidentView };

export type KeepUpOptions = {
  readonly first: ResidentConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the volumes of the tunnel are mounted. */
  readonly root?: string;
  /** What is waited for is kept there over a restart of the container; null or absent: nowhere. */
  readonly stateDir?: string | undefined;
  readonly readConfig: ConfigReader;
  readonly log: JsonLog;
  readonly metrics: TunnelMetrics;
  /** Told of what was left out of a configuration that is taken. */
  readonly warn: (read: ReadConfig) => void;
  /** Its reason is the number of the signal. */
  readonly stop: AbortSignal;
};

/** Keeps one tunnel up, following its configuration and its keys, until it is told to stop. */
export const keepUp = (options: KeepUpOptions): Resident => {
  const { first, env, root = MOUNT_ROOT, stateDir = null, readConfig, log, metrics, warn, stop } = options;
  let config = first;
  let configProblem: string | null = null;
  let state: ResidentState = newResidentState;
  let outage = noOutage;
  let whole: Whole = notYetWhole;
  /** Keys or host keys are others than those that the ssh which runs was started with. */
  let newLogins = false;
  let lastEventAt = performance.now();
  let recycle: NodeJS.Timeout | undefined;
  /** The ssh that runs, or ran last. */
  let current: ResidentLaunch | undefined;
  const { namespace, name } = first.document;
  const { path: dir, inMemory, leftovers, renew } = makeMemoryDirectory('autossh-login-', `${namespace}/${name}`);
  if (leftovers > 0)
    log.line(6, 'keys of an earlier supervisor of this tunnel are removed', { directories: leftovers });
  if (!inMemory) log.line(4, 'no directory in memory: copies of the keys are on a disk until the end', { dir });
  const sshEnv = childEnv(env, dir);
  const logins = createLogins({ dir, root, env: sshEnv });
  const lines = new LineSplitter((line) => log.line(isRepeating(outage) ? 7 : 6, 'ssh', { line }));
  const relay = createStderrRelay({ write: (bytes) => lines.push(Buffer.from(bytes)), flush: async () => {} });
  const sinceLastLook = connectedTime((seconds) => metrics.connectedFor(seconds));
  const refusals = noteRefusals();
  const probes = followProbes({
    ...{ refusals, timeoutMs: () => config.timeoutMs, muffle: relay.muffle, log, onChange: () => tell() },
  });
  const traffic = {
    glance: () => {
      const { pid } = running.tunnel();
      return pid === null ? null : glanceAt(pid);
    },
    onSlow: (waitedMs: number) => running.dispatch({ type: 'beatSlow', waitedMs }),
  };
  const bornAt = performance.now();
  const forwards = followForwards({
    wanted: () => config.document.forwards,
    patience: {
      get timeoutMs() {
        return config.timeoutMs;
      },
      glance: traffic.glance,
    },
    retry: () => config.retry,
    log,
    onChange: () => tell(),
  });
  const forwardsNow = (): ForwardState[] =>
    forwardStates(config.document.forwards, {
      ...state,
      missing: missingForwards(config.document, state, forwards.inPlace),
      probes: probes.results,
    });
  /** One truth for metrics, probes and status. */
  const tell = (): void => {
    whole = wholeAfter(whole, state, config.document.forwards.map(forwards.inPlace));
    metrics.up(state.connected);
    metrics.forwards(forwardsNow());
  };
  const saved = backoffFile(stateDir, loginDirectories(root));
  const earlier = saved.load(first.document);
  const dueInMs = earlier === null ? 0 : Math.max(0, earlier.dueAt - Date.now());
  if (earlier !== null) {
    const { reason } = earlier;
    state = { ...state, reason, detail: AS_BEFORE };
    log.line(4, 'an earlier supervisor of this tunnel was waiting', { reason, pauseMs: dueInMs });
  }
  const running: Running = runTunnel({
    policy: livePolicy(() => config, { bornAt, notBefore: bornAt + dueInMs }),
    ...(earlier === null
      ? {}
      : { remembered: { attempts: earlier.attempts, lastFailure: { reason: earlier.reason, detail: AS_BEFORE } } }),
    bornAt,
    launch: async () => {
      newLogins = false;
      renew();
      const { expectNoise, muffle } = relay;
      const launched = await launchResident(() => config, {
        ...{ logins, env: sshEnv, log, forwards: forwards.starting(), expectNoise, muffle, refusals, traffic },
      });
      if (!('unable' in launched)) current = launched;
      return launched;
    },
    onStderr: relay.push,
    onLine: refusals.note,
    judge: (verdict, lines) => {
      const judged = forwards.judge(verdict, lines);
      return { ...judged, amended: judged.amended || (newLogins && isLoginReason(judged.reason)) };
    },
    onTransition: (before, event, after, now) => {
      lastEventAt = now.at;
      if (event.type === 'exited') lines.end();
      const was = state;
      state = observe(state, before, event, after, Date.now());
      count(was, state);
      sinceLastLook(state.connected, now.at);
      metrics.backoff(after.state === 'Waiting' ? after.pauseMs / 1000 : 0);
      if (event.type === 'beatOk' && event.rttMs !== null) metrics.heartbeat(event.rttMs / 1000, Date.now() / 1000);
      const told = narrate(outage, { before, event, after, was, is: state }, now);
      outage = told.outage;
      const { line } = told;
      const beat = event.type === 'beatOk' || event.type === 'beatRefused' || event.type === 'beatFailed';
      const by = beat ? method() : null;
      if (line !== null) log.line(line.level, line.message, by === null ? line.fields : { ...line.fields, method: by });
      if (beat) metrics.method(by);
      if (before.state !== 'Connected' && after.state === 'Connected' && current !== undefined && after.pid !== null)
        forwards.connected({ control: current.control, pid: after.pid });
      if (hasEnded(before, event, after)) forwards.ended();
      if (event.type === 'exited' && after.state === 'Waiting') remember(after);
      if (!was.sessionUp && state.sessionUp) {
        forwards.proven();
        saved.clear();
        lifetime();
      } else if (was !== state) tell();
    },
  });
  const remember = ({ attempts, pauseMs, lastFailure }: Tunnel): void =>
    saved.save(config.document, { reason: lastFailure?.reason ?? 'Unknown', attempts, dueAt: Date.now() + pauseMs });

  /** The heartbeat in force; null before there was an ssh. */
  const method = (): string | null => current?.heartbeat.method ?? null;

  /** Forwards are probed as they are in force now, and only while a connection has them. */
  const probe = (): void => probes.follow(config.document, state.sessionUp ? (current?.control ?? null) : null);
  const count = (was: ResidentState, is: ResidentState): void => {
    if (is.starts > was.starts) metrics.started();
    if (is.failures > was.failures) metrics.disconnected(is.reason ?? 'Unknown');
    probe();
  };
  /** AUTOSSH_MAXLIFETIME: a connection that lived this long is replaced by a fresh one. */
  const lifetime = (): void => {
    clearTimeout(recycle);
    const { pid, connectedAt } = running.tunnel();
    if (config.maxLifetimeMs === null || connectedAt === null) return;
    const replace = () => {
      if (running.tunnel().pid === pid) running.dispatch({ type: 'restart', why: 'lifetime' });
    };
    const left = connectedAt + config.maxLifetimeMs - performance.now();
    recycle = setTimeout(replace, Math.min(Math.max(left, 0), 0x7fffffff));
  };
  const tick = setInterval(() => {
    sinceLastLook(state.connected, performance.now());
    metrics.method(method());
  }, TICK_MS);

  const apply = (): void => {
    const { document } = config;
    log.threshold(config.logLevel);
    metrics.configuration({
      generation: document.generation,
      suspended: document.suspend,
      insecureHostKey: document.knownHosts.some(({ source }) => source === 'Insecure'),
    });
    forwards.follow();
    probe();
  };
  const standing = (): Standing => {
    const { state: doing, lastFailure } = running.tunnel();
    return { state: doing, reason: lastFailure?.reason ?? null, connected: state.connected };
  };
  const changed = (): void => {
    const read = readConfig();
    configProblem = read.ok ? null : read.problem;
    if (!read.ok) {
      log.line(3, 'new configuration refused; the old one stays', { problem: read.problem });
      return;
    }
    warn(read);
    const was = config;
    const before = config.document;
    const isRetimed = timesOf(config) !== timesOf(read.config);
    config = read.config;
    const after = config.document;
    log.line(6, 'new configuration', { generation: after.generation });
    apply();
    if (after.retryToken !== before.retryToken) forwards.follow({ now: true });
    if (isRetimed) {
      running.dispatch({ type: 'retimed' });
      if (state.connected) lifetime();
    }
    // A beat at once: it takes the new method, and the next one the new period.
    if (changesBeats(was, config) && running.tunnel().state === 'Connected') running.dispatch({ type: 'alarm' });
    const event = changeBetween(before, after, standing());
    if (event !== null) running.dispatch(event);
  };
  const configFiles = watchFiles(configDirectories(root), changed);
  const loginFiles = watchFiles(loginDirectories(root), () => {
    log.line(6, 'keys or host keys changed: in force at the next connection');
    newLogins = true;
    const event = loginFilesChanged(standing());
    if (event !== null) running.dispatch(event);
  });

  const view = (): ResidentView => ({
    ...{ state, whole },
    ...{ tunnel: config.document.name, generation: config.document.generation, configProblem },
    method: method(),
    forwards: forwardsNow(),
    waitsForTunnel: config.document.startup === 'WaitForTunnel',
    unwell: unwell(),
    config,
  });
  const unwell = (): string | null =>
    unwellReason(running.tunnel(), state, {
      ...config,
      ...{ timeoutMs: BEAT_STEPS * config.timeoutMs, killGraceMs: KILL_GRACE_MS },
      connectDeadlineMs: connectDeadlineMs(config),
      quietMs: performance.now() - lastEventAt,
      ageMs: performance.now() - bornAt,
      now: Date.now(),
    });

  apply();
  // Nobody else has seen what came between the first reading and the first watch.
  const newest = readConfig();
  if (!newest.ok || !isDeepStrictEqual(newest.config, first)) changed();
  stop.addEventListener('abort', () => running.dispatch({ type: 'stop', signal: Number(stop.reason) }), { once: true });
  running.dispatch({ type: config.document.suspend ? 'suspend' : 'start' });
  if (stop.aborted) running.dispatch({ type: 'stop', signal: Number(stop.reason) });
  trimMemoryLater();
  const done = running.done.finally(() => {
    clearInterval(tick);
    clearTimeout(recycle);
    probes.stop();
    configFiles.stop();
    loginFiles.stop();
    logins.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return { done, view };
};

/** What timers that run already have to follow. */
const timesOf = (config: ResidentConfig): string => {
  const { periodMs, firstBeatMs, maxLifetimeMs, retry } = config;
  return JSON.stringify([periodMs, firstBeatMs, maxLifetimeMs, retry, connectDeadlineMs(config)]);
};
