import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, writeSync } from 'node:fs';
import type { Sink } from './sink.ts';

/** Where the classic log goes: what AUTOSSH_LOGFILE, AUTOSSH_LOGLEVEL and AUTOSSH_DEBUG say. */
export type ClassicLogOptions = {
  /** Appended to; null: syslog. */
  readonly logFile: string | null;
  /** Lines of a higher number are left out (syslog(3): 3 errors, 6 info, 7 debug). */
  readonly logLevel: number;
  /** To stderr too. */
  readonly debug: boolean;
  readonly pid: number;
  readonly stderr: Pick<Sink, 'write'>;
};

export type ClassicLog = {
  /** Says whether the line went to stderr. */
  readonly line: (line: { readonly level: number; readonly text: string; readonly pid?: number }) => boolean;
  /** Lets syslog's helper end. */
  readonly close: () => void;
};

const SYSLOG_SOCKET = '/dev/log';
const LOG_ERR = 3;
/** syslog(3): LOG_USER. */
const FACILITY_USER = 1 << 3;

/**
 * The log as autossh 1.4g writes it: to a file with the time before each line; or to syslog, and under AUTOSSH_DEBUG to stderr as
 * well. Where there is neither a file nor a syslog (a container), errors go to stderr, so that they are not lost.
 *
 * Throws the system's error when the log file cannot be opened.
 */
export const openClassicLog = (options: ClassicLogOptions): ClassicLog => {
  const { logFile, logLevel, pid, stderr } = options;
  if (logFile !== null) {
    const fd = openSync(logFile, 'a');
    return {
      line: (line) => {
        if (line.level > logLevel) return false;
        try {
          writeSync(fd, `${timestamp(new Date())} autossh[${line.pid ?? pid}]: ${line.text}\n`);
        } catch {
          // A full disk must not end the tunnel.
        }
        return false;
      },
      close: () => {},
    };
  }
  const hasSyslog = existsSync(SYSLOG_SOCKET);
  let logger: ChildProcess | null = null;
  return {
    line: (line) => {
      if (line.level > logLevel) return false;
      const isShown = options.debug || (!hasSyslog && line.level <= LOG_ERR);
      if (isShown) stderr.write(`autossh[${line.pid ?? pid}]: ${line.text}\n`);
      if (!hasSyslog) return isShown;
      logger ??= startLogger(pid);
      logger.stdin?.write(`<${FACILITY_USER + line.level}>${line.text}\n`);
      return isShown;
    },
    close: () => logger?.stdin?.end(),
  };
};

/** Node has no datagram sockets of the unix kind, which syslog needs: logger(1), from util-linux, has. */
const startLogger = (pid: number): ChildProcess => {
  const logger = spawn('logger', ['--prio-prefix', `--id=${pid}`, '--tag', 'autossh'], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  logger.on('error', () => {});
  logger.stdin?.on('error', () => {});
  logger.unref();
  return logger;
};

/** strftime's "%Y/%m/%d %H:%M:%S", local time. */
const timestamp = (now: Date): string => {
  const two = (number: number) => String(number).padStart(2, '0');
  const date = `${now.getFullYear()}/${two(now.getMonth() + 1)}/${two(now.getDate())}`;
  return `${date} ${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;
};
