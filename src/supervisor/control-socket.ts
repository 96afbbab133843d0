import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { socketBases } from './socket-bases.ts';
import { errorText } from './system-error.ts';
import { workingDirectory } from './working-directory.ts';

/** The private directory of one ssh, and what can be asked of it over its control socket. Every question is answered: none rejects. */
export type ControlSocket = {
  readonly dir: string;
  /** Path of the control socket itself. */
  readonly path: string;
  /** Options for the ssh that is to own the socket. */
  readonly masterArgs: readonly string[];
  /** Adds one forward to the living connection; resolves to what ssh printed (the port, for a listen port 0). */
  readonly forward: (spec: readonly string[], timeoutMs: number, signal?: AbortSignal) => Promise<ControlAnswer>;
  /** Takes one forward off the living connection, by the spec that it was added with; connections through it stay. */
  readonly cancel: (spec: readonly string[], timeoutMs: number, signal?: AbortSignal) => Promise<ControlAnswer>;
  /** Opens a channel from the server to `target` (host:port), and closes it once the server has said what became of it. */
  readonly channel: (target: string, timeoutMs: number, signal: AbortSignal) => Promise<ChannelAnswer>;
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

type Environment = Readonly<Record<string, string | undefined>>;

/** On which a question is asked: with its environment, and until when. */
type Terms = {
  readonly env: Environment;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
};

/** Silent: the server said nothing in time, or ssh could not be asked. */
export type ChannelAnswer =
  | { readonly is: 'Opened' }
  | { readonly is: 'Refused' }
  | { readonly is: 'Silent'; readonly problem: string };

/**
 * A fresh directory, mode 0700, for the control socket and the sockets of the heartbeat. Fresh for each ssh, because a socket that
 * an earlier ssh left behind silently turns multiplexing off. Throws where no directory can be made whose path is short enough.
 */
export const createControlSocket = (sshPath: string, env: Environment): ControlSocket => {
  const dir = privateDirectory();
  const path = join(dir, 'ctl');
  // One command at a time, in the order in which they were given; each one's time starts when it is its turn.
  let last: Promise<unknown> = Promise.resolve();
  const command = (
    verb: 'forward' | 'cancel',
    spec: readonly string[],
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<ControlAnswer> => {
    const args = ['-F', 'none', '-S', path, '-O', verb, ...spec, 'x'];
    // Never rejects: a question that cannot be asked must not keep the next ones from being asked.
    const answer = last
      .then(() => ask(sshPath, args, { env, timeoutMs, signal }))
      .catch((problem: unknown): ControlAnswer => ({ ok: false, refused: false, problem: errorText(problem) }));
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
    forward: (spec, timeoutMs, signal) => command('forward', spec, timeoutMs, signal),
    cancel: async (spec, timeoutMs, signal) => {
      const answer = await command('cancel', spec, timeoutMs, signal);
      // ssh leaves the file of a listener behind, and who connects there should not be told that somebody might answer.
      if ((answer.ok || answer.refused) && spec[0] === '-L' && spec[1]?.startsWith('/'))
        rmSync(spec[1].split(':')[0] ?? '', { force: true });
      return answer;
    },
    channel: (target, timeoutMs, signal) =>
      askChannel(sshPath, path, target, { env, timeoutMs, signal }).catch(
        (problem: unknown): ChannelAnswer => ({ is: 'Silent', problem: errorText(problem) }),
      ),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
};

/** The first of these under which a short enough path can be had: memory before disk. */
const privateDirectory = (): string => {
  const { usable, tooLong } = socketBases({ platform: process.platform, env: process.env, tmpdir: tmpdir() });
  const problems = tooLong.map((base) => `${base}: path too long`);
  for (const base of usable)
    try {
      return mkdtempSync(join(base, 'autossh-'));
    } catch (error) {
      problems.push((error as Error).message);
    }
  throw new Error(
    `no private directory for the control socket: expected a writable TMPDIR, got ${problems.join('; ')}`,
  );
};

/** One command to the ssh that owns the socket. A stopped ssh never answers, so the answer has a deadline of our own. */
const ask = async (file: string, args: string[], { env, timeoutMs, signal }: Terms): Promise<ControlAnswer> => {
  const { exitCode, stdout, stderr, timedOut, isCanceled } = await execa(file, args, {
    ...{ stdin: 'ignore', reject: false, cwd: workingDirectory(), env, extendEnv: false },
    ...{ timeout: Math.ceil(timeoutMs), killSignal: 'SIGKILL', maxBuffer: 65_536 },
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  if (isCanceled) return { ok: false, refused: false, problem: 'ssh did not answer over its control socket in time' };
  const said = stderr.split('\n')[0]?.trim() ?? '';
  if (timedOut)
    return { ok: false, refused: false, problem: `ssh did not answer over its control socket within ${timeoutMs} ms` };
  // A forward that is not there to be cancelled is no reason for ssh to exit with anything but 0.
  const refused = /: forwarding request failed: /.test(stderr);
  if (exitCode !== 0 || refused) return { ok: false, refused, problem: said || `ssh -O ended with ${exitCode}` };
  return { ok: true, output: stdout.trim() };
};

/** What `ssh -v -W` prints once the server has opened its channel, in all versions since 5.4, and when it has not. */
const OPENED = /^debug1: .*master session id: /m;
const REFUSED = /^Stdio forwarding request failed: /m;

/**
 * A listener of ssh accepts before it asks the server, so only a client of the control socket learns that a channel was opened. Where
 * there is no master it would connect by itself: ProxyCommand sees to it that it goes nowhere.
 */
const askChannel = async (
  file: string,
  path: string,
  target: string,
  { env, timeoutMs, signal }: Terms & { readonly signal: AbortSignal },
): Promise<ChannelAnswer> => {
  const args = ['-F', 'none', '-v', '-o', 'ProxyCommand=false', '-S', path, '-W', target, 'x'];
  const client = execa(file, args, {
    ...{ stdin: 'ignore', stdout: 'ignore', reject: false, cwd: workingDirectory(), env, extendEnv: false },
    ...{ timeout: Math.ceil(timeoutMs), killSignal: 'SIGKILL', maxBuffer: 65_536, cancelSignal: signal },
  });
  let said = '';
  client.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString('latin1');
    if (OPENED.test(said)) client.kill('SIGKILL');
  });
  const { timedOut } = await client;
  if (OPENED.test(said)) return { is: 'Opened' };
  if (REFUSED.test(said)) return { is: 'Refused' };
  return { is: 'Silent', problem: timedOut ? `no answer within ${Math.ceil(timeoutMs)} ms` : 'ssh could not be asked' };
};
