import { createServer, type Server } from 'node:net';
import { type ClassicLog, openClassicLog } from '../telemetry/classic-log.ts';
import { createSink } from '../telemetry/sink.ts';
import { type AutosshRun, parseAutosshArgv } from '../tunnel/autossh-argv.ts';
import { type AutosshSettings, DEFAULTS, parseAutosshEnv } from '../tunnel/autossh-env.ts';
import { noSsh } from '../tunnel/classic-lines.ts';
import { LOG_ERR, type LogLine } from '../tunnel/log-line.ts';
import { type Monitor, parseMonitor } from '../tunnel/monitor.ts';
import { goToBackground, isInBackground, reportToForeground } from './background.ts';
import { findProgram, whyNotRun } from './find-program.ts';
import { takeOwnMalloc } from './own-malloc.ts';
import { writePidFile } from './pid-file.ts';
import { queueSignals } from './queued-signals.ts';
import { superviseClassic } from './supervise-classic.ts';
import { errorText } from './system-error.ts';
import { unreadableKey } from './unreadable-key.ts';
import { USAGE, VERSION } from './usage.ts';

/** How long the last lines may take to leave: only where nobody reads them it takes so long, or on a machine that stands still. */
const FLUSH_MS = 5_000;

/**
 * The command `autossh`: reads its environment and arguments, makes what must stand before ssh (log, listener, pid file), and
 * supervises ssh until its end. Resolves with the exit code; every failure before the first ssh is one line on stderr that says
 * what was expected and what came, exit code 1, with nothing started and nothing left behind.
 */
export const runDropIn = async (argv: readonly string[], env: Record<string, string | undefined>): Promise<number> => {
  const stderr = createSink(2);
  const malloc = takeOwnMalloc(env);
  const background = isInBackground(env);
  let log: ClassicLog | null = null;
  let pidFile: { remove: () => void } | null = null;
  let server: Server | null = null;

  const refuse = (problem: LogLine): number => {
    let isShown = false;
    if (log !== null) isShown = log.line(problem);
    else {
      // Whether there is a log file is not known yet: 1.4g tells syslog.
      log = openClassicLog({ ...DEFAULTS, pid: process.pid, stderr: { write: () => {} } });
      log.line(problem);
    }
    if (background) reportToForeground(problem.text);
    else if (!isShown) stderr.write(`autossh: ${problem.text}\n`);
    return 1;
  };

  const start = async (): Promise<number> => {
    const parsedEnv = parseAutosshEnv(env);
    if (!parsedEnv.ok) return refuse(parsedEnv.problem);
    const { settings } = parsedEnv;
    const command = parseAutosshArgv(argv);
    if (command.kind === 'version') {
      process.stdout.write(`${VERSION}\n`);
      return 0;
    }
    if (command.kind === 'usage') {
      stderr.write(`${command.problem === undefined ? '' : `autossh: ${command.problem}\n`}${USAGE}`);
      return 1;
    }
    try {
      log = openClassicLog({ ...settings, pid: process.pid, stderr });
    } catch (problem) {
      return refuse(
        fault(`${settings.logFile}: ${errorText(problem)}`, 'a log file that can be opened (AUTOSSH_LOGFILE)'),
      );
    }
    const parsedMonitor = parseMonitor(settings.port ?? command.monitor);
    if (!parsedMonitor.ok) return refuse(parsedMonitor.problem);
    const { monitor } = parsedMonitor;
    // The rest, log lines included, is the background's; 1.4g's first lines come from the foreground.
    if (command.background && !background)
      return await goToBackground((text) => stderr.write(`autossh: ${text}\n`), malloc);

    const { line } = log;
    const timeoutMs = netTimeoutMs(settings, line, [...parsedEnv.notes, ...parsedMonitor.notes]);
    if (findProgram(settings.path, env['PATH']) === null) return refuse(noSsh(settings.path, whyNotRun(settings.path)));
    const key = unreadableKey(command.identityFiles);
    if (key !== null) return refuse(fault(`${key}: Permission denied`, 'a key that can be read'));
    const signals = queueSignals();
    try {
      server = await listen(monitor);
    } catch (problem) {
      const at = monitor.method === 'Loop' ? monitor.port + 1 : 0;
      return refuse(
        fault(`bind on 127.0.0.1:${at}: ${errorText(problem)}`, 'the port after the monitor port free on this machine'),
      );
    }
    if (settings.pidFile !== null) {
      try {
        pidFile = writePidFile(settings.pidFile);
      } catch (problem) {
        return refuse(
          fault(
            `cannot open pid file "${settings.pidFile}": ${errorText(problem)}`,
            'a file that can be written (AUTOSSH_PIDFILE)',
          ),
        );
      }
    }
    if (background) reportToForeground(null);
    return await superviseClassic({
      command,
      settings,
      monitor,
      server,
      timeoutMs,
      background,
      env,
      stderr,
      signals,
      log: line,
    });
  };

  const code = await start();
  (pidFile as { remove: () => void } | null)?.remove();
  (server as Server | null)?.close();
  (log as ClassicLog | null)?.close();
  await stderr.flush(FLUSH_MS);
  return code;
};

/** What the parts of the supervision share. */
export type DropIn = {
  readonly command: AutosshRun;
  readonly settings: AutosshSettings;
  readonly monitor: Monitor;
  readonly server: Server | null;
  readonly timeoutMs: number;
  readonly background: boolean;
};

/** Timeout of a heartbeat's steps (1.4g, TIMEO_NET). */
const NET_TIMEOUT_MS = 15_000;

/** Two of them must fit into the time between two beats, so short poll times shrink it; 1.4g says so, after what it noted before. */
const netTimeoutMs = ({ poll }: AutosshSettings, log: (line: LogLine) => void, notes: LogLine[]): number => {
  for (const note of notes) log(note);
  const half = (poll * 1000) / 2;
  if (half >= NET_TIMEOUT_MS) return NET_TIMEOUT_MS;
  log({ level: 6, text: `short poll time: adjusting net timeouts to ${half}` });
  return half;
};

/** The way back of the loop: the port after the monitor port, for the whole life of autossh. */
const listen = (monitor: Monitor): Promise<Server | null> =>
  new Promise((resolve, reject) => {
    if (monitor.method !== 'Loop') return resolve(null);
    const server = createServer((guest) => {
      guest.on('error', () => {});
      // Between the beats nobody has business here.
      if (server.listenerCount('connection') === 1) guest.destroy();
    });
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: monitor.port + 1 }, () => resolve(server));
  });

const fault = (text: string, expected: string): LogLine => ({ level: LOG_ERR, text: `${text}; expected ${expected}` });
