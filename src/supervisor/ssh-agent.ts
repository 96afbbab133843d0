import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from './find-program.ts';

/** The ssh-agent that ssh is to use. */
export type Agent = {
  /** For ssh's environment; null: there is no agent. */
  readonly socket: string | null;
  /** Whether the agent is ours. Then it is empty until ssh puts a key into it (AddKeysToAgent). */
  readonly started: boolean;
  readonly stop: () => void;
};

/**
 * An agent that runs already (SSH_AUTH_SOCK) is used; where there is none, one is started for the time of this session and ended
 * with it, as the autossh article has it: a passphrase typed once serves every later start of ssh. Without an ssh-agent on the
 * machine there is simply none.
 */
export const startAgent = (env: Readonly<Record<string, string | undefined>>): Agent => {
  const existing = env['SSH_AUTH_SOCK'];
  if (existing) return { socket: existing, started: false, stop: () => {} };
  const program = findProgram('ssh-agent', env['PATH']);
  if (program === null) return { socket: null, started: false, stop: () => {} };
  let dir: string;
  try {
    dir = mkdtempSync(join(tmpdir(), 'autossh-agent-'));
  } catch {
    return { socket: null, started: false, stop: () => {} };
  }
  const socket = join(dir, 'agent');
  const args = ['-D', '-a', socket];
  const guard = findProgram('setpriv');
  // Debian's ssh-agent is setgid, which would clear the death signal: no_new_privs takes the setgid bit's effect away.
  const child: ChildProcess =
    guard === null
      ? spawn(program, args, { stdio: 'ignore', detached: true })
      : spawn(guard, ['--no-new-privs', '--pdeathsig', 'KILL', '--', program, ...args], {
          stdio: 'ignore',
          detached: true,
        });
  child.on('error', () => {});
  child.unref();
  return {
    socket,
    started: true,
    stop: () => {
      // In this order: the agent removes its socket on SIGTERM, and a file that goes while its directory is being removed
      // makes rmSync stop there.
      rmSync(dir, { recursive: true, force: true });
      child.kill('SIGTERM');
    },
  };
};
