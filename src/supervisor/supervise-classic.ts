import { constants } from 'node:os';
import type { Sink } from '../telemetry/sink.ts';
import { classicLines } from '../tunnel/classic-lines.ts';
import { remoteForwardFailure } from '../tunnel/failure.ts';
import { ForwardsThatWorked } from '../tunnel/forwards-that-worked.ts';
import { error, info, type LogLine } from '../tunnel/log-line.ts';
import type { Event, Now, Tunnel } from '../tunnel/machine.ts';
import { type Monitor, monitorForwards } from '../tunnel/monitor.ts';
import { autosshPolicy } from '../tunnel/policy-autossh.ts';
import { createControlSocket } from './control-socket.ts';
import type { DropIn } from './drop-in.ts';
import { type Heartbeat, onControlSocket } from './heartbeat.ts';
import { autoHeartbeat } from './heartbeat-auto.ts';
import { fixedHeartbeat, noHeartbeat } from './heartbeat-fixed.ts';
import type { QueuedSignals } from './queued-signals.ts';
import { type Launch, runTunnel } from './run-tunnel.ts';
import { onSigusr1 } from './sigusr1.ts';
import { startAgent } from './ssh-agent.ts';
import { createStderrRelay } from './stderr-relay.ts';
import { trimMemoryLater } from './trim-memory.ts';

export type ClassicOptions = DropIn & {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stderr: Sink;
  readonly signals: QueuedSignals;
  readonly log: (line: LogLine) => void;
};

/** Without a person who may be typing a password, a connection that is not up by then never will be. */
const CONNECT_DEADLINE_MS = 60_000;
/** A remote forward that was refused although it had worked: the old session may still hold the port, so not at once. */
const REFUSED_AGAIN_MS = 5_000;
/** Without a heartbeat to tell: an ssh that lived this long without a word about a forward has it. */
const FORWARD_STANDS_MS = 10_000;

/** sshd is content with a port that only half is free (::1 but not 127.0.0.1): so many beats tell a loop that cannot work. */
const LOOP_MISSES = 2;

/** Supervises ssh as autossh does, until it is over; resolves with the exit code. */
export const superviseClassic = async (options: ClassicOptions): Promise<number> => {
  const { command, settings, background, log } = options;
  const bornAt = performance.now();
  const agent = startAgent(options.env);
  const env = agent.socket === null ? options.env : { ...options.env, SSH_AUTH_SOCK: agent.socket };
  const isTyping = !background && process.stdin.isTTY === true;
  const relay = createStderrRelay(options.stderr);
  const forwards = new ForwardsThatWorked();
  let { monitor } = options;
  if (monitor.method === 'Auto' && command.ownControlSocket) {
    log(info('heartbeat off: the command line names a control socket of its own; -M port has one of autossh'));
    monitor = { method: 'None' };
  } else if (monitor.method === 'Auto') log(info('no monitor port: heartbeat through a port that the server chooses'));

  let misses: number | null = 0;
  const loopAnswered = (came: boolean) => {
    if (came) misses = null;
    if (misses === null || ++misses < LOOP_MISSES || monitor.method !== 'Loop') return;
    log(
      info(
        `the heartbeat never came round through port ${monitor.port} of the server, which somebody else may have; ` +
          'heartbeat through a port that the server chooses instead',
      ),
    );
    monitor = { method: 'Auto' };
  };

  const heartbeat = (): Heartbeat => {
    const common = { message: settings.message, timeoutMs: options.timeoutMs, log };
    switch (monitor.method) {
      case 'None':
        return noHeartbeat;
      case 'Loop':
      case 'Echo':
        return fixedHeartbeat({ ...common, monitor, server: options.server, onAnswer: loopAnswered });
      case 'Auto': {
        const control = createControlSocket(settings.path, env);
        return onControlSocket(control, autoHeartbeat({ ...common, control, expectNoise: relay.expectNoise }));
      }
    }
  };

  const launch = (): Launch => {
    forwards.next();
    const added = monitorForwards(monitor);
    // A variable has no place of its own on the command line: its forwards go first, as 1.4g puts them.
    const args =
      settings.port !== null
        ? [...added, ...command.before, ...command.after]
        : [...command.before, ...added, ...command.after];
    const keys = agent.started && isTyping ? ['-o', 'AddKeysToAgent=yes'] : [];
    return {
      path: settings.path,
      args: [...keys, ...args],
      env,
      attached: !background,
      heartbeat: safely(heartbeat, log),
    };
  };

  const policyOptions = {
    settings,
    bornAt,
    background,
    noSession: command.noSession,
    connectDeadlineMs: monitor.method === 'Auto' && !isTyping ? CONNECT_DEADLINE_MS : null,
  };
  const narration = { options: policyOptions, pid: process.pid, monitored: monitor.method !== 'None' };
  const running = runTunnel({
    policy: autosshPolicy(policyOptions),
    bornAt,
    launch,
    onTransition: (before, event, after, now) => {
      if (stands(monitor, before, event, now)) forwards.stand();
      for (const line of classicLines(before, event, after, now, narration)) log(line);
    },
    onStderr: (chunk) => {
      if (!background) relay.push(chunk);
    },
    onLine: (line) => {
      const port = remoteForwardFailure(line);
      if (port === null) return;
      if (monitor.method === 'Loop' && port === monitor.port) {
        log(
          info(`monitor port ${port} is taken on the server; heartbeat through a port that the server chooses instead`),
        );
        monitor = { method: 'Auto' };
        running.dispatch({ type: 'restart', why: 'monitorPort' });
        return;
      }
      if (!forwards.refused(port)) return;
      const { pid } = running.tunnel();
      setTimeout(() => {
        if (running.tunnel().pid !== pid || running.tunnel().state === 'Ending') return;
        const which = port < 0 || port > 65_535 ? 'a port' : `port ${port}`;
        log(info(`remote forwarding of ${which} worked before and was refused now, restarting ssh`));
        running.dispatch({ type: 'restart', why: 'remoteForward' });
      }, REFUSED_AGAIN_MS);
    },
    remoteForwardWorkedBefore: () => forwards.anyWorked(),
  });

  onSigusr1(() => running.dispatch({ type: 'restart', why: 'signal' }));
  running.dispatch({ type: 'start' });
  options.signals.follow((name) => {
    const isWake = name === 'SIGHUP' || name === 'SIGUSR2';
    running.dispatch(isWake ? { type: 'wake' } : { type: 'stop', signal: constants.signals[name] });
  });
  trimMemoryLater();
  const code = await running.done;
  agent.stop();
  return code;
};

/** Whether the event shows that ssh has, or had, a connection. */
const stands = ({ method }: Monitor, before: Tunnel, event: Event, now: Now): boolean =>
  method === 'None'
    ? event.type === 'exited' && now.at - before.startedAt >= FORWARD_STANDS_MS
    : event.type === 'connected' || event.type === 'beatOk';

/** A heartbeat that cannot be set up must not keep the tunnel down. */
const safely = (make: () => Heartbeat, log: (line: LogLine) => void): Heartbeat => {
  try {
    return make();
  } catch (problem) {
    log(error(`heartbeat off: ${(problem as Error).message}`));
    return noHeartbeat;
  }
};
