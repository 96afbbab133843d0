import { constants } from 'node:os';
import { MOUNT_ROOT } from '../api/mounts.ts';
import { REASONS } from '../api/reasons.ts';
import { createJsonLog, type Fields, type JsonLog } from '../telemetry/json-log.ts';
import { createTunnelMetrics } from '../telemetry/metrics.ts';
import type { LogFormat } from '../telemetry/pretty-log.ts';
import { createSink } from '../telemetry/sink.ts';
import { newResidentState } from '../tunnel/resident-state.ts';
import { notYetWhole } from '../tunnel/whole.ts';
import { configDirectories } from './config-directories.ts';
import { keepListening } from './keep-listening.ts';
import { keepUp } from './keep-up.ts';
import { type ConfigReader, createConfigReader, type ReadConfig } from './resident-config.ts';
import { type ResidentView, serveResident } from './resident-http.ts';
import { serveResidentPage } from './resident-page.ts';
import { watchFiles } from './watch-files.ts';

export type ResidentOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where probes, metrics and status are served. */
  readonly listen: { readonly host?: string | undefined; readonly port: number };
  /** Port on loopback of the page for a person and the full status; 0 is none. */
  readonly pagePort: number;
  /** Default: json. */
  readonly logFormat?: LogFormat;
  readonly version: string;
  /** On every line of the log: where several tunnels share one, whose it is. */
  readonly logFields?: Fields;
  /** Where the volumes of the tunnel are mounted. */
  readonly root?: string;
  /** A directory of ours alone that outlives a restart of the container: what is waited for is kept there. */
  readonly stateDir?: string | undefined;
};

const FLUSH_MS = 1_000;

/**
 * The sidecar: keeps the one tunnel of its configuration up until SIGTERM, whatever happens; resolves with the exit code. What cannot
 * work yet (no configuration, no key, a server that refuses) is reported over HTTP and in the log by a process that waits.
 */
export const superviseResident = async (options: ResidentOptions): Promise<number> => {
  const stderr = createSink(2);
  const log = createJsonLog(stderr, { program: 'autossh', ...options.logFields }, options.logFormat);
  const stopped = new AbortController();
  const stop = (name: 'SIGTERM' | 'SIGINT') => stopped.abort(constants.signals[name]);
  // For good, since what nobody listens for kills: a second one must not cut the end short that removes the copies of the keys.
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  const readConfig = createConfigReader(options.env, options.root);
  let read = readConfig();
  warn(read, log);
  let metrics = createTunnelMetrics(nameOf(read), options.version, REASONS);
  let view = (): ResidentView => waiting(read);
  const { listen } = options;
  const server = keepListening(() => serveResident(() => view(), { text: () => metrics.text() }, listen), {
    ...listen,
    setting: 'spec.sidecar.healthPort, --http-port',
    onServed: () => log.line(6, 'probes, metrics and status', { port: listen.port }),
    onProblem: (problem) => log.line(3, 'probes, metrics and status are not served', { port: listen.port, problem }),
  });
  const page = serveResidentPage(() => view(), options, log);
  try {
    if (!read.ok) {
      const onRead = (newest: ReadConfig) => {
        read = newest;
        warn(newest, log);
      };
      await configured(readConfig, onRead, options.root, stopped.signal);
      if (!read.ok) return 0;
      // Now it is known whose they are.
      metrics = createTunnelMetrics(nameOf(read), options.version, REASONS);
    }
    const resident = keepUp({
      ...options,
      readConfig,
      first: read.config,
      warn: (read) => warn(read, log),
      log,
      metrics,
      stop: stopped.signal,
    });
    view = resident.view;
    return await resident.done;
  } finally {
    server.close();
    page?.close();
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
  whole: { ...notYetWhole, reason: 'BadConfiguration' },
  ...{ tunnel: nameOf(read), generation: 0, method: null, forwards: [], waitsForTunnel: true, unwell: null },
  config: null,
  configProblem: read.ok ? null : read.problem,
});

/** Waits for a configuration that can be run, and tells of each that is read; ends early when told to stop. */
const configured = (
  readConfig: ConfigReader,
  onRead: (read: ReadConfig) => void,
  root: string = MOUNT_ROOT,
  stop: AbortSignal,
): Promise<void> =>
  new Promise((resolve) => {
    const finish = () => {
      files.stop();
      resolve();
    };
    const look = () => {
      const read = readConfig();
      onRead(read);
      if (read.ok) finish();
    };
    const files = watchFiles(configDirectories(root), look);
    stop.addEventListener('abort', finish, { once: true });
    // What came between the first reading and the first watching changes nothing any more.
    if (stop.aborted) finish();
    else if (readConfig().ok) look();
  });
