import type { Reason } from '../api/reasons.ts';
import { classify, type Verdict } from '../tunnel/failure.ts';
import { LineSplitter } from '../tunnel/lines.ts';
import {
  type Effect,
  type Event,
  type Exit,
  type Failure,
  type Now,
  newTunnel,
  type Policy,
  step,
  type TimerName,
  type Tunnel,
} from '../tunnel/machine.ts';
import { type Beat, type Heartbeat, lost } from './heartbeat.ts';
import { type SshProcess, startSsh } from './ssh-process.ts';
import { isNoise } from './stderr-relay.ts';
import { errorText } from './system-error.ts';
import { createTimers } from './timers.ts';

/** One ssh, about to be started. */
export type Launch = {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly attached: boolean;
  readonly heartbeat: Heartbeat;
  /** Resolves when ssh has logged in, which is before its heartbeat is ready; may reject where `signal` ends it. */
  readonly loggedIn?: (signal: AbortSignal) => Promise<void>;
  /** What is known here of a failure beyond ssh's own words, by its reason. */
  readonly hints?: Readonly<Partial<Record<Reason, string>>>;
};

/** Why no ssh can be started now; the policy decides when it is tried again. */
export type Unable = { readonly unable: Failure };

export type RunOptions = {
  readonly policy: Policy;
  readonly bornAt: number;
  /**
   * Makes the next ssh's command line and heartbeat; called once for each start. What takes time gives a promise, which must settle: an
   * ssh that nobody wants any more by then is not started, and its heartbeat is closed. One that rejects is one that could not.
   */
  readonly launch: () => Launch | Unable | Promise<Launch | Unable>;
  /** Told of every event and what it changed, before anything is done about it: the one source of logs, metrics and status. */
  readonly onTransition: (before: Tunnel, event: Event, after: Tunnel, now: Now) => void;
  /** ssh's stderr as it comes, and line by line. */
  readonly onStderr?: (chunk: Uint8Array) => void;
  readonly onLine?: (line: string) => void;
  /** Whether a remote forward that is refused now has worked before (see failure.ts). */
  readonly remoteForwardWorkedBefore?: () => boolean;
  /** A second look at why an ssh ended, with its last lines, for who can put it right before the next one. */
  readonly judge?: (verdict: Verdict, lines: readonly string[]) => Verdict & { readonly amended: boolean };
  /** What is known of the tunnel from an earlier life of this program. */
  readonly remembered?: Partial<Pick<Tunnel, 'attempts' | 'lastFailure'>>;
};

export type Running = {
  readonly dispatch: (event: Event) => void;
  readonly tunnel: () => Tunnel;
  /** Resolves with the exit code when the tunnel's life is over. */
  readonly done: Promise<number>;
};

/** The last lines of an ssh that are kept to tell why it ended. */
const KEPT_LINES = 50;

/** Brings the pure machine to life: its events from the world, its effects into it. The first event starts it. */
export const runTunnel = (options: RunOptions): Running => {
  let tunnel: Tunnel = { ...newTunnel(options.bornAt), ...options.remembered };
  let ssh: SshProcess | null = null;
  let heartbeat: Heartbeat | null = null;
  /** The ssh that is being made ready. */
  let preparing: Promise<Launch | Unable> | null = null;
  let connection = new AbortController();
  let finish: (code: number) => void = () => {};
  const done = new Promise<number>((resolve) => {
    finish = resolve;
  });
  const timers = createTimers<TimerName>((name) => dispatch({ type: name }));

  // An effect may bring the next event while its own event is still being worked off: events wait in line.
  const inbox: Event[] = [];
  let working = false;
  const dispatch = (event: Event): void => {
    inbox.push(event);
    if (working) return;
    working = true;
    for (let next = inbox.shift(); next !== undefined; next = inbox.shift()) handle(next);
    working = false;
  };

  const handle = (event: Event): void => {
    const now: Now = { at: performance.now(), random: Math.random() };
    const before = tunnel;
    const { tunnel: after, effects } = step(before, event, now, options.policy);
    tunnel = after;
    options.onTransition(before, event, after, now);
    for (const effect of effects) perform(effect);
  };

  const perform = (effect: Effect): void => {
    switch (effect.do) {
      case 'timer':
        timers.set(effect.name, effect.at);
        break;
      case 'clear':
        timers.clear(effect.name);
        break;
      case 'spawn':
        spawn();
        break;
      case 'kill':
        connection.abort(new Error('ssh is being ended'));
        if (preparing !== null) {
          preparing = null;
          dispatch({ type: 'exited', code: null, signal: null, reason: 'Killed', detail: 'not started any more' });
        } else if (ssh !== null && 'pid' in ssh) ssh.kill(effect.signal);
        break;
      case 'beat':
        beat();
        break;
      case 'exit':
        timers.clearAll();
        connection.abort(new Error('the tunnel has ended'));
        finish(effect.code);
        break;
    }
  };

  const spawn = (): void => {
    const launch = options.launch();
    if (!(launch instanceof Promise)) {
      start(launch);
      return;
    }
    preparing = launch;
    void launch.catch(unable).then((ready) => {
      if (preparing === launch) {
        preparing = null;
        start(ready);
      } else if (!('unable' in ready)) ready.heartbeat.close();
    });
  };

  const start = (launch: Launch | Unable): void => {
    if ('unable' in launch) {
      heartbeat = null;
      const { reason, detail } = launch.unable;
      dispatch({ type: 'exited', code: null, signal: null, ...judged({ reason, line: detail }, []) });
      return;
    }
    const mine = new AbortController();
    connection = mine;
    heartbeat = launch.heartbeat;
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      options.onLine?.(line);
    });
    let hasLoggedIn = false;
    const end = (exit: Pick<Exit, 'code' | 'signal' | 'spawnError'>) => {
      splitter.end();
      mine.abort(new Error('ssh has ended'));
      launch.heartbeat.close();
      ssh = null;
      const said = lines.filter((line) => !isNoise(line));
      dispatch({ type: 'exited', ...exit, ...explain(lines, exit, launch, hasLoggedIn), lines: said });
    };
    ssh = startSsh({
      path: launch.path,
      args: [...launch.heartbeat.sshArgs, ...launch.args],
      env: launch.env,
      attached: launch.attached,
      onStderr: (chunk) => {
        splitter.push(chunk);
        options.onStderr?.(chunk);
      },
      onExit: end,
    });
    if ('spawnError' in ssh) {
      end({ code: null, signal: null, spawnError: ssh.spawnError });
      return;
    }
    dispatch({ type: 'spawned', pid: ssh.pid });
    launch.loggedIn?.(mine.signal).then(
      () => {
        hasLoggedIn = true;
      },
      () => {},
    );
    launch.heartbeat.open(mine.signal).then(
      () => {
        if (!mine.signal.aborted) dispatch({ type: 'connected' });
      },
      (problem: unknown) => {
        if (!mine.signal.aborted)
          dispatch({ type: 'beatFailed', reason: 'HeartbeatLost', detail: (problem as Error).message });
      },
    );
  };

  const explain = (
    lines: string[],
    exit: Pick<Exit, 'code' | 'signal' | 'spawnError'>,
    { hints }: Launch,
    hasLoggedIn: boolean,
  ): Pick<Exit, 'reason' | 'detail' | 'amended'> => {
    if (exit.spawnError !== undefined) return { reason: 'BadConfiguration', detail: exit.spawnError };
    const verdict = classify({
      lines,
      exitCode: exit.code,
      signal: exit.signal,
      connected: hasLoggedIn || tunnel.connectedAt !== null,
      remoteForwardWorkedBefore: options.remoteForwardWorkedBefore?.() ?? false,
    });
    const hint = hints?.[verdict.reason];
    return judged(hint === undefined ? verdict : { ...verdict, line: `${verdict.line} (${hint})` }, lines);
  };

  const judged = (verdict: Verdict, lines: readonly string[]): Pick<Exit, 'reason' | 'detail' | 'amended'> => {
    const { reason, line, amended } = options.judge?.(verdict, lines) ?? { ...verdict, amended: false };
    return { reason, detail: line, amended };
  };

  const beat = (): void => {
    const mine = connection.signal;
    if (heartbeat === null) return;
    void outcomeOf(heartbeat, mine).then((result) => {
      if (mine.aborted) return;
      dispatch(
        result.ok
          ? { type: 'beatOk', rttMs: result.rttMs }
          : {
              type: result.serverAnswered ? 'beatRefused' : 'beatFailed',
              ...{ reason: result.reason, detail: result.detail },
            },
      );
    });
  };

  return { dispatch, tunnel: () => tunnel, done };
};

/** No error of one beat, or of one launch, may end the program: it is a failure like any other. */
const outcomeOf = async (heartbeat: Heartbeat, signal: AbortSignal): Promise<Beat> => {
  try {
    return await heartbeat.beat(signal);
  } catch (problem) {
    return lost(errorText(problem));
  }
};
const unable = (problem: unknown): Unable => ({ unable: { reason: 'Unknown', detail: errorText(problem) } });
