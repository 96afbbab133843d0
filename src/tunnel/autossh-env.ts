import { parseCNumber, toInt } from './c-number.ts';
import { error, info, LOG_DEBUG, LOG_INFO, type LogLine } from './log-line.ts';

/** What the AUTOSSH_* variables of the classic interface ask for. Times are in seconds, as they are written. */
export type AutosshSettings = {
  /** Time between heartbeats. */
  readonly poll: number;
  /** Time before the first heartbeat of each ssh. */
  readonly firstPoll: number;
  /** The first ssh must outlive this; 0 means that autossh never gives up. */
  readonly gateTime: number;
  /** How many times ssh may be started; -1 means without end. */
  readonly maxStart: number;
  /** How long autossh itself may live; 0 means for ever. */
  readonly maxLifetime: number;
  /** Appended to the text of each heartbeat. */
  readonly message: string;
  /** AUTOSSH_PORT as written: it wins over -M. */
  readonly port: string | null;
  /** The ssh to run. */
  readonly path: string;
  readonly pidFile: string | null;
  readonly logFile: string | null;
  /** 0-7 as in syslog(3). */
  readonly logLevel: number;
  /** AUTOSSH_DEBUG: the log goes to stderr too. */
  readonly debug: boolean;
};

export const DEFAULTS: AutosshSettings = {
  poll: 600,
  firstPoll: 600,
  gateTime: 30,
  maxStart: -1,
  maxLifetime: 0,
  message: '',
  port: null,
  path: '/usr/bin/ssh',
  pidFile: null,
  logFile: null,
  logLevel: LOG_INFO,
  debug: false,
};

/** The longest AUTOSSH_MESSAGE, in bytes (autossh 1.4g, MAX_MESSAGE). */
const MAX_MESSAGE_BYTES = 64;

/** The environment, read; or the one line that says what was wrong with it. `notes` are to be logged in their order. */
export type AutosshEnv =
  | { readonly ok: true; readonly settings: AutosshSettings; readonly notes: LogLine[] }
  | { readonly ok: false; readonly problem: LogLine };

class Bad extends Error {}

/**
 * Reads AUTOSSH_* as autossh 1.4g does, number for number: what it refuses is refused with its words (and what was expected
 * after them), what it bends silently (a negative poll time) is bent alike. AUTOSSH_NTSERVICE means something on Cygwin only
 * and is accepted.
 */
export const parseAutosshEnv = (env: Readonly<Record<string, string | undefined>>): AutosshEnv => {
  try {
    return { ok: true, ...read(env) };
  } catch (problem) {
    if (problem instanceof Bad) return { ok: false, problem: error(problem.message) };
    throw problem;
  }
};

const read = (env: Readonly<Record<string, string | undefined>>) => {
  const notes: LogLine[] = [];
  const wantsDebug = env['AUTOSSH_DEBUG'] !== undefined;
  const logLevel = wantsDebug ? LOG_DEBUG : number(env['AUTOSSH_LOGLEVEL'], LOG_INFO, readLogLevel);
  const pollAsked = number(env['AUTOSSH_POLL'], DEFAULTS.poll, readPoll('poll time'));
  const firstAsked = number(env['AUTOSSH_FIRST_POLL'], pollAsked, readPoll('first poll time'));
  const gateTime = number(env['AUTOSSH_GATETIME'], DEFAULTS.gateTime, readGateTime);
  const maxStart = number(env['AUTOSSH_MAXSTART'], DEFAULTS.maxStart, readMaxStart);
  const message = readMessage(env['AUTOSSH_MESSAGE']);
  const maxLifetime = number(env['AUTOSSH_MAXLIFETIME'], DEFAULTS.maxLifetime, readMaxLifetime);
  const shrink = (what: string, seconds: number) => {
    if (maxLifetime === 0 || seconds <= maxLifetime) return seconds;
    notes.push(info(`${what} is greater than lifetime, dropping ${what} to ${maxLifetime}`));
    return maxLifetime;
  };
  const path = env['AUTOSSH_PATH'] ?? DEFAULTS.path;
  if (path === '') throw new Bad('invalid path "": expected AUTOSSH_PATH to name the ssh to run, or to be unset');
  const settings: AutosshSettings = {
    poll: shrink('poll time', pollAsked),
    firstPoll: shrink('first poll time', firstAsked),
    gateTime,
    maxStart,
    maxLifetime,
    message,
    port: env['AUTOSSH_PORT'] || null,
    path,
    pidFile: env['AUTOSSH_PIDFILE'] || null,
    logFile: env['AUTOSSH_LOGFILE'] ?? null,
    logLevel,
    debug: wantsDebug,
  };
  return { settings, notes };
};

type Reader = (text: string) => number;
const number = (text: string | undefined, otherwise: number, reader: Reader): number =>
  text === undefined ? otherwise : reader(text);

/** The whole text as a number, or the complaint that it is none. */
const whole = (text: string, complaint: string): bigint => {
  const { value, rest } = parseCNumber(text);
  if (text === '' || rest !== '') throw new Bad(complaint);
  return value;
};

const readLogLevel: Reader = (text) => {
  const complaint = `invalid log level "${text}": expected a whole number from 0 to 7`;
  const level = toInt(whole(text, complaint));
  if (level < 0 || level > 7) throw new Bad(complaint);
  return level;
};

const readPoll =
  (what: string): Reader =>
  (text) => {
    const complaint = `invalid ${what} "${text}": expected a whole number of seconds, at least 1`;
    const seconds = toInt(whole(text, complaint));
    if (seconds === 0) throw new Bad(complaint);
    return seconds < 0 ? DEFAULTS.poll : seconds;
  };

const readGateTime: Reader = (text) => {
  const complaint = `invalid gate time "${text}": expected a whole number of seconds, at least 0`;
  const seconds = whole(text, complaint);
  if (seconds < 0n) throw new Bad(complaint);
  return Number(seconds);
};

const readMaxStart: Reader = (text) => {
  const complaint = `invalid max start number "${text}": expected a whole number, -1 (without end) or more`;
  const starts = toInt(whole(text, complaint));
  if (starts < -1) throw new Bad(complaint);
  return starts;
};

const readMaxLifetime: Reader = (text) => {
  const seconds = whole(text, `invalid max lifetime "${text}": expected a whole number of seconds, 0 for no limit`);
  // strtoul(3) wraps a negative number to almost 2^64 seconds: for ever, said otherwise.
  return seconds < 0n ? DEFAULTS.maxLifetime : Number(seconds);
};

const readMessage = (text = ''): string => {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > MAX_MESSAGE_BYTES)
    throw new Bad(`echo message may only be ${MAX_MESSAGE_BYTES} bytes long; AUTOSSH_MESSAGE has ${bytes}`);
  return text;
};
