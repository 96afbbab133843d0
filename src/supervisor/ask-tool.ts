import { execa } from 'execa';
import type { Env } from './child-env.ts';
import { errorText } from './system-error.ts';
import { workingDirectory } from './working-directory.ts';

export type ToolAnswer =
  | { readonly ran: true; readonly code: number; readonly output: string; readonly problem: string }
  | { readonly ran: false; readonly problem: string };

/** A key may be made slow to open (ssh-keygen -a), but not as slow as this. */
const SLOWEST_MS = 20_000;

/**
 * Runs one of OpenSSH's tools to its end. It has nobody to ask: no standard input, and a session of its own without a terminal; what
 * does not end is ended. Never rejects.
 */
export const askTool = async (
  file: string,
  args: readonly string[],
  env: Env,
  timeoutMs = SLOWEST_MS,
): Promise<ToolAnswer> => {
  const { exitCode, stdout, stderr, timedOut, signal, code, originalMessage } = await execa(file, args, {
    stdin: 'ignore',
    reject: false,
    cwd: workingDirectory(),
    env,
    extendEnv: false,
    detached: true,
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    maxBuffer: 262_144,
  });
  if (timedOut) return { ran: false, problem: `${file} did not end within ${timeoutMs / 1000} s` };
  if (exitCode === undefined) {
    const why = signal === undefined ? errorText({ code, message: originalMessage }) : `ended by ${signal}`;
    return { ran: false, problem: `${file} could not be run: ${why}` };
  }
  return { ran: true, code: exitCode, output: stdout, problem: stderr.trim().split('\n')[0]?.trim() ?? '' };
};
