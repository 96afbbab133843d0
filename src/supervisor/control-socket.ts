import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

/** The private directory of one ssh, and what can be asked of it over its control socket. */
export type ControlSocket = {
  readonly dir: string;
  /** Path of the control socket itself. */
  readonly path: string;
  /** Options for the ssh that is to own the socket. */
  readonly masterArgs: readonly string[];
  /** Adds one forward to the living connection; resolves to what ssh printed (the port, for a listen port 0). */
  readonly forward: (spec: readonly string[], timeoutMs: number) => Promise<ControlAnswer>;
  /** Takes one forward off the living connection, by the spec that it was added with; connections through it stay. */
  readonly cancel: (spec: readonly string[], timeoutMs: number) => Promise<ControlAnswer>;
  readonly remove: () => void;
};

export type ControlAnswer =
  | { readonly ok: true; readonly output: string }
  | {
      readonly ok: false;
      readonly problem: string;
      /** ssh refused; otherwise it gave no answer, or there is nobody to ask. */
      readonly refused: boolean;
    };

/** ssh makes its socket as PATH plus a dot and 16 characters, of at most 107 bytes in all. */
const LONGEST_PATH = 90;

/**
 * A fresh directory, mode 0700, for the control socket and the sockets of the heartbeat. Fresh for each ssh, because a socket that
 * an earlier ssh left behind silently turns multiplexing off. Throws where no directory can be made whose path is short enough.
 */
export const createControlSocket = (
  sshPath: string,
  env: Readonly<Record<string, string | undefined>>,
): ControlSocket => {
  const dir = privateDirectory();
  const path = join(dir, 'ctl');
  // One command at a time, in the order in which they were given; each one's time starts when it is its turn.
  let last: Promise<unknown> = Promise.resolve();
  const command = (verb: 'forward' | 'cancel', spec: readonly string[], timeoutMs: number): Promise<ControlAnswer> => {
    const answer = last.then(() => ask(sshPath, ['-F', 'none', '-S', path, '-O', verb, ...spec, 'x'], env, timeoutMs));
    last = answer;
    return answer;
  };
  return {
    dir,
    path,
    masterArgs: [
      ...['-o', 'ControlMaster=yes', '-o', `ControlPath=${path}`, '-o', 'ControlPersist=no'],
      ...['-o', 'StreamLocalBindUnlink=yes'],
    ],
    forward: (spec, timeoutMs) => command('forward', spec, timeoutMs),
    cancel: (spec, timeoutMs) => command('cancel', spec, timeoutMs),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
};

/** The first of these under which a short enough path can be had: memory before disk. */
const privateDirectory = (): string => {
  const problems: string[] = [];
  for (const base of [process.env['XDG_RUNTIME_DIR'], tmpdir(), '/tmp', '/dev/shm', '/var/tmp']) {
    if (!base) continue;
    if (`${base}/autossh-XXXXXX/echo`.length > LONGEST_PATH) {
      problems.push(`${base}: path too long`);
      continue;
    }
    try {
      return mkdtempSync(join(base, 'autossh-'));
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  throw new Error(
    `no private directory for the control socket: expected a writable TMPDIR, got ${problems.join('; ')}`,
  );
};

/** One command to the ssh that owns the socket. A stopped ssh never answers, so the answer has a deadline of our own. */
const ask = async (
  file: string,
  args: string[],
  env: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
): Promise<ControlAnswer> => {
  const { exitCode, stdout, stderr, timedOut } = await execa(file, args, {
    stdin: 'ignore',
    reject: false,
    env,
    extendEnv: false,
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    maxBuffer: 65_536,
  });
  const said = stderr.split('\n')[0]?.trim() ?? '';
  if (timedOut)
    return { ok: false, refused: false, problem: `ssh did not answer over its control socket within ${timeoutMs} ms` };
  // A forward that is not there to be cancelled is no reason for ssh to exit with anything but 0.
  const refused = /: forwarding request failed: /.test(stderr);
  if (exitCode !== 0 || refused) return { ok: false, refused, problem: said || `ssh -O ended with ${exitCode}` };
  return { ok: true, output: stdout.trim() };
};
