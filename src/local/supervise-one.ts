import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { superviseResident } from '../supervisor/supervise-resident.ts';
import type { LogFormat } from '../telemetry/pretty-log.ts';
import { ROOT } from './tunnel-directory.ts';

export type OneOptions = {
  /** Its private directory, which is removed at the end. */
  readonly directory: string;
  /** What the run calls it. */
  readonly tunnel: string;
  /** Of 127.0.0.1, for probes, metrics and status. */
  readonly port: number;
  /** Of 127.0.0.1, for the page for a person. */
  readonly pagePort: number;
  readonly logFormat: LogFormat;
  readonly version: string;
};

/**
 * The process of one tunnel of a run: the supervisor of the cluster's sidecars, on files in a private directory. It ends with its
 * standard input, which is a pipe that only the run holds: so it ends with the run, whatever ends that, and takes the copies of the keys
 * along. Resolves with the exit code.
 */
export const superviseOne = async ({
  directory,
  tunnel,
  port,
  pagePort,
  logFormat,
  version,
}: OneOptions): Promise<number> => {
  process.stdin.resume();
  let isOver = false;
  process.stdin.once('close', () => {
    isOver = true;
    process.kill(process.pid, 'SIGTERM');
  });
  process.stdin.on('error', () => {});
  try {
    return await superviseResident({
      env: process.env,
      listen: { host: '127.0.0.1', port },
      ...{ pagePort, logFormat },
      root: join(directory, ROOT),
      logFields: { tunnel },
      version,
    });
  } finally {
    // An end that the run did not ask for is followed by another start on the same files.
    if (isOver) {
      rmSync(directory, { recursive: true, force: true });
      removeIfEmpty(dirname(directory));
    }
  }
};

/** The last tunnel of a run that was killed takes the directory of the run along. */
const removeIfEmpty = (path: string): void => {
  try {
    if (readdirSync(path).length === 0) rmdirSync(path);
  } catch {
    // Another was faster.
  }
};
