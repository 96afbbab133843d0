import { rmSync } from 'node:fs';
import { MOUNT_ROOT } from '../api/hand-over.ts';
import type { Reason } from '../api/reasons.ts';
import type { JsonLog } from '../telemetry/json-log.ts';
import type { TunnelMetrics } from '../telemetry/metrics.ts';
import { changeBetween, changesBeats } from '../tunnel/config-change.ts';
import { type ForwardState, forwardStates, type ProbeResult } from '../tunnel/forward-state.ts';
import { narrate } from '../tunnel/narrate.ts';
import { residentPolicy } from '../tunnel/policy-resident.ts';
import { isRepeating, noOutage } from '../tunnel/quiet-repeats.ts';
import { longestSilenceMs, newResidentState, observe, type ResidentState } from '../tunnel/resident-state.ts';
import { childEnv } from './child-env.ts';
import { configDirectories, loginDirectories } from './config-directories.ts';
import { createForwardProbes } from './forward-probes.ts';
import { createLogins } from './login-files.ts';
import { makeMemoryDirectory } from './memory-directory.ts';
import { noteRefusals } from './refusals.ts';
import { type ReadConfig, type ResidentConfig, readResidentConfig } from './resident-config.ts';
import type { ResidentView } from './resident-http.ts';
import { launchResident, type ResidentLaunch } from './resident-launch.ts';
import { type Running, runTunnel } from './run-tunnel.ts';
import { createStderrRelay } from './stderr-relay.ts';
import { trimMemoryLater } from './trim-memory.ts';
import { watchFiles } from './watch-files.ts';

/** An ssh without a terminal has nothing to put right: one that does not go at once is stuck. */
const KILL_GRACE_MS = 2_000;
const TICK_MS = 1_000;
/** Beyond this the supervisor itself is stuck; far above what a busy node may delay. */
const STUCK_MS = 30_000;
/** A beat has so many steps at most, each with its own timeout. */
const BEAT_STEPS = 3;

export type Resident = { readonly done: Promise<number>; readonly view: () => ResidentView };

export type KeepUpOptions = {
  readonly first: ResidentConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the volumes of the tunnel are mounted. */
  readonly root?: string;
  readonly log: JsonLog;
  readonly metrics: TunnelMetrics;
  /** Told of what was left out of a configuration that is taken. */
  readonly warn: (read: ReadConfig) => void;
  /** Its reason is the number of the signal. */
  readonly stop: AbortSignal;
};

/** Keeps one tunnel up, following its configuration and its keys, until it is told to stop. */
export const keepUp = ({ first, env, root = MOUNT_ROOT, log, metrics, warn, stop }: KeepUpOptions): Resident => {
  let config = first;
  let configProblem: string | null = null;
  let state: ResidentState = newResidentState;
  let outage = noOutage;
  let lastEventAt = performance.now();
  let recycle: NodeJS.Timeout | undefined;
  /** The ssh that runs, or ran last. */
  let current: ResidentLaunch | undefined;
  const { path: dir, inMemory } = makeMemoryDirectory('autossh-login-');
  if (!inMemory) log.line(4, 'no directory in memory: copies of the keys are on a disk until the end', { dir });
  const sshEnv = childEnv(env, dir);
  const logins = createLogins({ dir, root, env: sshEnv });
  const relay = createStderrRelay({
    write: (bytes) => {
      for (const line of bytes.toString().trimEnd().split('\n')) log.line(isRepeating(outage) ? 7 : 6, 'ssh', { line });
    },
    flush: async () => {},
  });
  const refusals = noteRefusals();
  const probed = new Map<string, ProbeResult>();
  const probes = createForwardProbes({
    refusals,
    timeoutMs: () => config.timeoutMs,
    onResult: (name, result) => {
      const was = probed.get(name);
      probed.set(name, result);
      tellForwards();
      if (result.ok)
        log.line(was?.ok === true ? 7 : 6, 'probe answered', { forward: name, tookMs: Math.round(result.tookMs) });
      else {
        const isNews = was === undefined || was.ok || was.reason !== result.reason;
        log.line(isNews ? 4 : 7, 'probe failed', { forward: name, reason: result.reason, detail: result.detail });
      }
    },
  });
  const forwards = (): ForwardState[] =>
    forwardStates(config.document.forwards, { ...state, missing: missing(), probes: probed });
  /** With method Forward the heartbeat is a proof of its forward too. */
  const missing = (): Map<string, Reason> => {
    const { method, forward } = config.document.heartbeat;
    const isRefused = state.sessionUp && !state.connected && state.reason !== null;
    return new Map(
      isRefused && method === 'Forward' && forward !== undefined && state.reason !== null
        ? [[forward, state.reason]]
        : [],
    );
  };
  const tellForwards = (): void => {
    metrics.forwards(forwards());
  };

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
    launch: async () => {
      const { expectNoise } = relay;
      const launched = await launchResident(config, {
        ...{ logins, env: sshEnv, log, expectNoise, refusals },
        current: () => config,
      });
      if (!('unable' in launched)) current = launched;
      return launched;
    },
    onStderr: relay.push,
    onLine: refusals.note,
    remoteForwardWorkedBefore: () => state.everConnected,
    onTransition: (before, event, after, now) => {
      lastEventAt = now.at;
      const was = state;
      state = observe(state, before, event, after, Date.now());
      count(was, state, event.type === 'spawned');
      metrics.backoff(after.state === 'Waiting' ? after.pauseMs / 1000 : 0);
      if (event.type === 'beatOk' && event.rttMs !== null) metrics.heartbeat(event.rttMs / 1000, Date.now() / 1000);
      const told = narrate(outage, { before, event, after, was, is: state }, now);
      outage = told.outage;
      const { line } = told;
      const beat = event.type === 'beatOk' || event.type === 'beatRefused' || event.type === 'beatFailed';
      if (line !== null) log.line(line.level, line.message, beat ? { ...line.fields, method: method() } : line.fields);
      if (beat) metrics.method(method());
      if (!was.sessionUp && state.sessionUp) lifetime();
    },
  });

  const method = (): string => current?.heartbeat.method ?? 'None';

  const count = (was: ResidentState, is: ResidentState, started: boolean): void => {
    if (started) metrics.started();
    if (is.failures > was.failures) metrics.disconnected(is.reason ?? 'Unknown');
    if (is.connected !== was.connected) {
      metrics.up(is.connected);
    }
    tellForwards();
    probes.follow(config.document, is.sessionUp ? (current?.control ?? null) : null);
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
    for (const name of [...probed.keys()])
      if (!document.forwards.some((one) => one.name === name && 'probe' in one)) probed.delete(name);
    tellForwards();
    probes.follow(document, state.sessionUp ? (current?.control ?? null) : null);
  };
  const changed = (): void => {
    const read = readResidentConfig(env, root);
    configProblem = read.ok ? null : read.problem;
    if (!read.ok) {
      log.line(3, 'new configuration refused; the old one stays', { problem: read.problem });
      return;
    }
    warn(read);
    const was = config;
    const before = config.document;
    config = read.config;
    apply();
    const after = config.document;
    log.line(6, 'new configuration', { generation: after.generation });
    // A beat at once: it takes the new method, and the next one the new period.
    if (changesBeats(was, config) && running.tunnel().state === 'Connected') running.dispatch({ type: 'alarm' });
    const change = changeBetween(before, after);
    if (change === 'suspend' || change === 'resume') running.dispatch({ type: change });
    if (change === 'reconnect') running.dispatch({ type: 'restart', why: 'changed' });
    if (change === 'retry' && !state.connected) running.dispatch({ type: 'restart', why: 'asked' });
  };
  const configFiles = watchFiles(configDirectories(root), changed);
  const loginFiles = watchFiles(loginDirectories(root), () => {
    log.line(6, 'keys or host keys changed: in force at the next connection');
    if (running.tunnel().state === 'Waiting') running.dispatch({ type: 'restart', why: 'changed' });
  });

  const view = (): ResidentView => ({
    state,
    ...{ tunnel: config.document.name, generation: config.document.generation, configProblem },
    method: method(),
    forwards: forwards(),
    waitsForTunnel: config.document.startup === 'WaitForTunnel',
    unwell: unwell(),
    config,
  });
  const unwell = (): string | null => {
    const limit = longestSilenceMs(running.tunnel(), {
      connectDeadlineMs: connectDeadline(),
      ...{ periodMs: config.periodMs, timeoutMs: BEAT_STEPS * config.timeoutMs, killGraceMs: KILL_GRACE_MS },
    });
    if (limit !== null && performance.now() - lastEventAt > limit + STUCK_MS) return 'the supervision is stuck';
    const deadline = config.livenessDeadlineMs;
    if (deadline === null || state.suspended) return null;
    // Without beats, being logged in is all the health there is.
    if (config.method === 'None' && state.connected) return null;
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
    probes.stop();
    configFiles.stop();
    loginFiles.stop();
    logins.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return { done, view };
};
