import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Env } from './child-env.ts';
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
export const startAgent = (env: Env): Agent => {
  const existing = env['SSH_AUTH_SOCK'];
  if (existing) return { socket: existing, started: false, stop: () => {} };
  let dir: string;
  try {
    dir = mkdtempSync(join(tmpdir(), 'autossh-agent-'));
  } catch {
    return { socket: null, started: false, stop: () => {} };
  }
  const socket = join(dir, 'agent');
  const agent = spawnAgent(socket, env);
  const remove = () => rmSync(dir, { recursive: true, force: true });
  if (agent === null) {
    remove();
    return { socket: null, started: false, stop: () => {} };
  }
  return {
    socket,
    started: true,
    stop: () => {
      agent.kill();
      remove();
    },
  };
};

/** An ssh-agent of ours. */
export type RunningAgent = {
  /** Resolves when it listens (true), or will not (false). */
  readonly ready: Promise<boolean>;
  readonly kill: () => void;
};

/** An agent listens within milliseconds, also on a busy machine. */
const READY_MS = 10_000;

/**
 * Starts an empty agent that listens at `socket` and ends with us, also when we are killed; one that does not listen within `readyMs`
 * is ended. null: there is no ssh-agent here.
 */
export const spawnAgent = (socket: string, env: Env, readyMs = READY_MS): RunningAgent | null => {
  const program = findProgram('ssh-agent', env['PATH']);
  if (program === null) return null;
  const args = ['-D', '-a', socket];
  const guard = findProgram('setpriv');
  // Debian's ssh-agent is setgid, which would clear the death signal: no_new_privs takes the setgid bit's effect away.
  const [file, all] =
    guard === null ? [program, args] : [guard, ['--no-new-privs', '--pdeathsig', 'KILL', '--', program, ...args]];
  const child: ChildProcess = spawn(file, all, { stdio: ['ignore', 'pipe', 'ignore'], env, detached: true });
  // SIGKILL: one that is stopped hears nothing else.
  const kill = () => void child.kill('SIGKILL');
  const ready = new Promise<boolean>((resolve) => {
    const tooLate = setTimeout(() => {
      kill();
      resolve(false);
    }, readyMs).unref();
    const settle = (listens: boolean) => {
      clearTimeout(tooLate);
      resolve(listens);
    };
    // It says where it listens once it does.
    child.stdout?.once('data', () => settle(true));
    child.once('exit', () => settle(false));
    child.once('error', () => settle(false));
  });
  child.unref();
  if (child.stdout instanceof Socket) child.stdout.unref();
  return { ready, kill };
};
