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
  process.once('SIGTERM', () => stop('SIGTERM'));
  process.once('SIGINT', () => stop('SIGINT'));
  const readConfig = createConfigReader(options.env, options.root);
  let read = readConfig();
  warn(read, log);
  const metrics = createTunnelMetrics(nameOf(read), options.version, REASONS);
  let view = (): ResidentView => waiting(read);
  const server = await serveResident(() => view(), metrics, options.listen);
  log.line(6, 'probes, metrics and status', { port: options.listen.port });
  const page = await serveResidentPage(() => view(), options, log);
  try {
    read = await configured(read, readConfig, options.root, log, stopped.signal);
    if (!read.ok) return 0;
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

/** Waits for a configuration that can be run; ends early, without one, when told to stop. */
const configured = (
  first: ReadConfig,
  readConfig: ConfigReader,
  root: string = MOUNT_ROOT,
  log: JsonLog,
  stop: AbortSignal,
): Promise<ReadConfig> =>
  new Promise((resolve) => {
    if (first.ok || stop.aborted) return resolve(first);
    const files = watchFiles(configDirectories(root), () => {
      const read = readConfig();
      warn(read, log);
      if (read.ok) finish(read);
    });
    const finish = (read: ReadConfig) => {
      files.stop();
      resolve(read);
    };
    stop.addEventListener('abort', () => finish(first), { once: true });
  });
