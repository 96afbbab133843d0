import { debug, error, info, type LogLine } from './log-line.ts';
import type { Event, Exit, Now, Tunnel } from './machine.ts';
import { type AutosshPolicyOptions, autosshPolicy, graceSeconds, isPremature } from './policy-autossh.ts';

/** What the lines name beside the tunnel itself. */
export type Narration = {
  readonly options: AutosshPolicyOptions;
  /** The pid of autossh. */
  readonly pid: number;
  /** With monitoring off there is no "connection ok". */
  readonly monitored: boolean;
};

/** There is no ssh to run, in the system's words: found before the first start, or gone before a later one. */
export const noSsh = (path: string, why: string): LogLine =>
  error(`${path}: ${why}; expected a program that can be run (AUTOSSH_PATH)`);

/**
 * The log lines of autossh 1.4g for one event: what it says when a tunnel goes from `before` to `after`. They are told from the
 * transition alone, so that what is logged and what is done cannot disagree.
 */
export const classicLines = (before: Tunnel, event: Event, after: Tunnel, now: Now, about: Narration): LogLine[] => {
  const lines: LogLine[] = [];
  const isRunning = before.state === 'Connecting' || before.state === 'Connected';
  const left = secondsLeft(before.alarmAt, now.at);
  const cleared = debug(`clear alarm timer (${left} secs left)`);

  if (isRunning) lines.push(...whileRunning(before, event, after, now, about, cleared));
  if (before.state === 'Waiting' && event.type === 'stop') lines.push(error('signalled to exit'));
  if (before.state === 'Ending') {
    if (event.type === 'kill') lines.push(info('ssh did not end on SIGTERM, sending SIGKILL'));
    if (event.type === 'exited') lines.push(cleared);
  }
  if (prepares(before, event, now, about)) lines.push(...preparing(before, after, now, about));
  if (after.state === 'Connecting' && after.starts > before.starts) lines.push(starting(after, about));
  return lines;
};

const whileRunning = (
  before: Tunnel,
  event: Event,
  after: Tunnel,
  now: Now,
  about: Narration,
  cleared: LogLine,
): LogLine[] => {
  const { settings } = about.options;
  const settled = () => [
    debug(`check on child ${after.pid ?? 0}`),
    cleared,
    debug(`set alarm for ${alarmSeconds(after, now.at, about)} secs`),
  ];
  switch (event.type) {
    case 'spawned':
      return [
        { ...debug(`child of ${about.pid} execing ${settings.path}`), pid: event.pid },
        info(`ssh child pid is ${event.pid}`),
        ...settled(),
      ];
    case 'exited':
      return afterExit(before, event, now, about, cleared);
    case 'wake':
      return settled();
    case 'alarm':
      return [debug('received SIGALRM (end-of-life 0)')];
    case 'beatOk':
      return about.monitored ? [debug('connection ok'), ...settled()] : settled();
    case 'beatFailed':
      return [info('port down, restarting ssh')];
    case 'connect':
      return [info(`${after.lastFailure?.detail ?? 'no connection'}, restarting ssh`)];
    case 'lifetime':
      return [info('exceeded maximum time to live, shutting down'), debug('received SIGALRM (end-of-life 1)')];
    case 'restart':
      return event.why === 'signal' ? [info('signalled to kill and restart ssh')] : [];
    case 'stop':
      return [info(`received signal to exit (${event.signal})`)];
    default:
      return [];
  }
};

const afterExit = (before: Tunnel, exit: Exit, now: Now, about: Narration, cleared: LogLine): LogLine[] => {
  if (exit.spawnError !== undefined) return [noSsh(about.options.settings.path, exit.spawnError)];
  const { next } = autosshPolicy(about.options).afterExit(before, exit, now);
  const restarts = next.to === 'restart';
  const [line, code] = exitLine(before, exit, restarts, now, about);
  return [debug(`check on child ${before.pid ?? 0}`), line, debug(`expired child, returning ${code}`), cleared];
};

/** What an exit is called, and the number that 1.4g has for it: 1 restart, 2 good end, 3 bad end. */
const exitLine = (before: Tunnel, exit: Exit, restarts: boolean, now: Now, about: Narration): [LogLine, 1 | 2 | 3] => {
  if (exit.signal !== null) return [info(`ssh exited on signal ${exit.signal}, restarting ssh`), 1];
  if (isPremature(before, now.at, about.options))
    return [error(`ssh exited prematurely with status ${exit.code}; autossh exiting`), 3];
  if (!restarts) return [info(`ssh exited with status ${exit.code}; autossh exiting`), exit.code === 0 ? 2 : 3];
  return [info(`ssh exited with ${exit.code === 0 ? '' : 'error '}status ${exit.code}; restarting ssh`), 1];
};

/** Whether the event leads to the question if and when ssh is started (again). */
const prepares = (before: Tunnel, event: Event, now: Now, about: Narration): boolean => {
  if (before.state === 'Idle') return event.type === 'start';
  if (before.state === 'Suspended') return event.type === 'resume';
  if (event.type !== 'exited') return false;
  if (before.state === 'Ending') return before.next?.to === 'restart';
  if (before.state !== 'Connecting' && before.state !== 'Connected') return false;
  return autosshPolicy(about.options).afterExit(before, event, now).next.to === 'restart';
};

const preparing = (before: Tunnel, after: Tunnel, now: Now, about: Narration): LogLine[] => {
  const { settings } = about.options;
  if (after.state === 'Exited') {
    if (outOfStarts(before, about)) return [info('max start count reached; exiting')];
    return outOfTime(now.at, about) ? [info('exceeded maximum time to live, shutting down')] : [];
  }
  const grace = graceSeconds(after.tries, settings.poll);
  const lines = [debug(`checking for grace period, tries = ${after.tries}`)];
  return grace === 0 ? lines : [...lines, debug(`sleeping for grace time ${grace} secs`)];
};

const starting = (after: Tunnel, about: Narration): LogLine => {
  const { maxStart } = about.options.settings;
  return info(`starting ssh (count ${after.starts}${maxStart < 0 ? '' : ` of ${maxStart}`})`);
};

const outOfStarts = (tunnel: Tunnel, { options }: Narration): boolean =>
  options.settings.maxStart >= 0 && tunnel.starts >= options.settings.maxStart;

const outOfTime = (at: number, { options }: Narration): boolean =>
  options.settings.maxLifetime > 0 && at - options.bornAt >= options.settings.maxLifetime * 1000;

/** The next alarm in seconds: the beat, or the end of the lifetime where that comes sooner. */
const alarmSeconds = (after: Tunnel, at: number, { options }: Narration): number => {
  const beat = secondsLeft(after.alarmAt, at);
  const { maxLifetime } = options.settings;
  if (maxLifetime === 0) return beat;
  return Math.max(0, Math.min(beat, Math.floor((options.bornAt + maxLifetime * 1000 - at) / 1000)));
};

/** Seconds as alarm(2) gives them back: rounded, but never 0 while any time is left. */
const secondsLeft = (alarmAt: number | null, at: number): number => {
  if (alarmAt === null || alarmAt <= at) return 0;
  return Math.max(1, Math.round((alarmAt - at) / 1000));
};
