import type { AutosshSettings } from './autossh-env.ts';
import type { Exit, Next, Policy, Tunnel } from './machine.ts';

/** What the classic policy needs beside the AUTOSSH_* settings. */
export type AutosshPolicyOptions = {
  readonly settings: AutosshSettings;
  /** When autossh was started, monotonic ms: AUTOSSH_MAXLIFETIME counts from here. */
  readonly bornAt: number;
  /** Run by -f: never give up on the first try. */
  readonly background: boolean;
  /** ssh was started without a remote shell or command. */
  readonly noSession: boolean;
  /** ms until the connection must be up, where that can be seen and nobody may be typing a password; else null. */
  readonly connectDeadlineMs: number | null;
};

/** ssh gets this long to end on SIGTERM. autossh 1.4g waits for ever, so that a stopped ssh hangs it. */
const KILL_GRACE_MS = 5_000;
/** Starts in quick succession before the pauses begin (1.4g, N_FAST_TRIES). */
const FAST_TRIES = 5;
/** An ssh that lived less than this counts as a try; with longer poll times a tenth of them does. */
const SHORTEST_LIFE_SECONDS = 10;

/** The gate time in force: 0 (never give up) under -f. */
export const gateSeconds = ({ settings, background }: Pick<AutosshPolicyOptions, 'settings' | 'background'>): number =>
  background ? 0 : settings.gateTime;

/**
 * How autossh 1.4g decides, seen from outside. One difference: an ssh without a session (-N) that ends with status 0, which it
 * does only because somebody ended it with SIGTERM, is restarted; 1.4g takes it for a good end and quits.
 */
export const autosshPolicy = (options: AutosshPolicyOptions): Policy => {
  const { settings, bornAt } = options;
  const lifetimeEndsAt = settings.maxLifetime === 0 ? null : bornAt + settings.maxLifetime * 1000;
  return {
    failureThreshold: 1,
    connectDeadlineMs: options.connectDeadlineMs,
    killGraceMs: KILL_GRACE_MS,
    lifetimeEndsAt,
    stopCode: 1,
    firstAlarmAt: (_tunnel, now) => now.at + settings.firstPoll * 1000,
    nextAlarmAt: (_tunnel, now) => now.at + settings.poll * 1000,
    beforeStart: (tunnel, now) => {
      if (settings.maxStart >= 0 && tunnel.starts >= settings.maxStart) return { go: false, code: 0 };
      if (lifetimeEndsAt !== null && now.at >= lifetimeEndsAt) return { go: false, code: 0 };
      const tries = nextTries(tunnel, now.at, settings.poll);
      return { go: true, pauseMs: graceSeconds(tries, settings.poll) * 1000, changes: { tries } };
    },
    afterExit: (tunnel, exit, now) => ({ next: nextAfterExit(tunnel, exit, now.at, options), changes: {} }),
    afterSick: () => ({}),
  };
};

/** Starts in quick succession, counted: an ssh that lived long enough sets the count back. */
const nextTries = (tunnel: Tunnel, at: number, poll: number): number => {
  const shortest = Math.max(SHORTEST_LIFE_SECONDS, Math.trunc(poll / 10));
  return wholeSeconds(at - tunnel.startedAt) >= shortest ? 0 : tunnel.tries + 1;
};

/** The pause before a start, in seconds: none for the first tries, then POLL/100 * t*t/3, at most POLL. */
export const graceSeconds = (tries: number, poll: number): number => {
  const slow = tries - FAST_TRIES;
  return slow <= 0 ? 0 : Math.min(poll, Math.trunc((poll / 100) * (slow * (slow / 3))));
};

/** Whether an exit came so early that the first ssh counts as never established. */
export const isPremature = (tunnel: Tunnel, at: number, options: AutosshPolicyOptions): boolean => {
  const gate = gateSeconds(options);
  return tunnel.starts === 1 && gate !== 0 && wholeSeconds(at - tunnel.startedAt) <= gate;
};

const nextAfterExit = (tunnel: Tunnel, exit: Exit, at: number, options: AutosshPolicyOptions): Next => {
  if (exit.spawnError !== undefined) return { to: 'exit', code: 1 };
  if (exit.signal !== null) return { to: 'restart' };
  if (isPremature(tunnel, at, options)) return { to: 'exit', code: 1 };
  switch (exit.code) {
    case 255:
      return { to: 'restart' };
    case 0:
      return options.noSession ? { to: 'restart' } : { to: 'exit', code: 0 };
    case 1:
    case 2:
      return tunnel.starts > 1 || gateSeconds(options) === 0 ? { to: 'restart' } : { to: 'exit', code: 1 };
    default:
      return { to: 'exit', code: 1 };
  }
};

/** 1.4g counts in whole seconds of time(2). */
const wholeSeconds = (ms: number): number => Math.floor(ms / 1000);
