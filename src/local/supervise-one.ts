import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { superviseResident } from '../supervisor/supervise-resident.ts';
import { ROOT } from './tunnel-directory.ts';

/**
 * The process of one tunnel of a run: the supervisor of the cluster's sidecars, on files in a private directory. It ends with its
 * standard input, which is a pipe that only the run holds: so it ends with the run, whatever ends that, and takes the copies of the keys
 * along. Resolves with the exit code.
 */
export const superviseOne = async (directory: string, port: number, version: string): Promise<number> => {
  process.stdin.resume();
  process.stdin.once('close', () => process.kill(process.pid, 'SIGTERM'));
  process.stdin.on('error', () => {});
  try {
    return await superviseResident({
      env: process.env,
      listen: { host: '127.0.0.1', port },
      root: join(directory, ROOT),
      version,
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
    removeIfEmpty(dirname(directory));
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
