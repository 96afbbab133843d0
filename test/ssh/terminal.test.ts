import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'vitest';
import { AUTOSSH, autosshEnv, markedProcesses } from '../support/autossh.ts';
import { autosshIn, sshdIn } from '../support/in-test.ts';
import { descendantsOf, signal } from '../support/processes.ts';
import type { Sshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/** A person at a terminal, and a pipe in place of one: what ssh does there, autossh does. */
describe.concurrent('standard input and output', () => {
  it('bytes and their end go through to a remote command and back, and nothing else is on stdout', async (context) => {
    const sshd = await sshdIn(context);
    const autossh = autosshIn(context, { args: [...sshd.sshArgs, sshd.destination, 'cat'], stdin: 'pipe' });
    const bytes = randomBytes(3_000_000);
    autossh.child.stdin?.end(bytes);
    context.expect(await autossh.ended()).toEqual({ code: 0, signal: null });
    context.expect(autossh.stdout().equals(bytes)).toBe(true);
  });

  it('the stderr of the remote command comes whole', async (context) => {
    const sshd = await sshdIn(context);
    const command = 'echo out; echo err >&2; printf "no end of line" >&2';
    const args = [...sshd.sshArgs, sshd.destination, command];
    const autossh = autosshIn(context, { args, env: { AUTOSSH_DEBUG: undefined } });
    await autossh.ended();
    context.expect(autossh.stdout().toString()).toBe('out\n');
    context.expect(autossh.stderr()).toBe('err\nno end of line');
  });

  it('a login shell: the size of the window, a change of it, the exit', async (context) => {
    const terminal = await startTerminal(context, (sshd) => ['-t', ...sshd.sshArgs, sshd.destination, 'sh -i']);
    terminal.type('stty size\r');
    await terminal.shows(/41 123/);
    terminal.resize(50, 100);
    await until(
      'the new size',
      () => {
        terminal.type('stty size\r');
        return /50 100/.test(terminal.screen());
      },
      { everyMs: 300, state: terminal.screen },
    );
    terminal.type('exit\r');
    context.expect(await terminal.code()).toBe(0);
    context.expect(terminal.now()).toBe(terminal.before());
  });

  it('an exit status other than 0 ends it as it ends the original', async (context) => {
    const terminal = await startTerminal(context, (sshd) => ['-t', ...sshd.sshArgs, sshd.destination, 'sh -i']);
    terminal.type('exit 7\r');
    context.expect(await terminal.code()).toBe(1);
    await terminal.shows(/ssh exited with status 7; autossh exiting/);
  });

  it('~. ends ssh', async (context) => {
    const terminal = await startTerminal(context, (sshd) => ['-t', ...sshd.sshArgs, sshd.destination, 'sh -i'], {
      AUTOSSH_GATETIME: '3600',
    });
    terminal.type('\r~.');
    context.expect(await terminal.code()).toBe(1);
    await terminal.shows(/ssh exited prematurely with status 255; autossh exiting/);
    context.expect(terminal.now()).toBe(terminal.before());
  });

  for (const name of ['SIGTERM', 'SIGKILL'] as const)
    it(`the terminal is as it was after ${name} to autossh`, async (context) => {
      const terminal = await startTerminal(context, (sshd) => ['-t', ...sshd.sshArgs, sshd.destination, 'sh -i']);
      terminal.type('echo re$((1))ady\r');
      await terminal.shows(/re1ady/);
      context.expect(terminal.now()).not.toBe(terminal.before());
      signal(terminal.autossh(), name);
      await until('the terminal to be as it was', () => terminal.now() === terminal.before(), { state: terminal.now });
      await terminal.code();
    });
});

/** autossh on a terminal of 41 lines and 123 columns, made by script(1); what it shows, and its settings before and after. */
const startTerminal = async (
  context: TestContext,
  args: (sshd: Sshd) => string[],
  env: Record<string, string> = {},
) => {
  const sshd = await sshdIn(context);
  const dir = mkdtempSync(join(tmpdir(), 'at-'));
  const file = (name: string) => join(dir, name);
  const quoted = [AUTOSSH, ...args(sshd)].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  writeFileSync(
    file('run.sh'),
    [`cd '${dir}'; stty rows 41 cols 123; tty > tty; stty -g > before`, quoted, 'echo $? > code; sleep 1000'].join(
      '\n',
    ),
  );
  const script = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', '--', 'script', '-qec', `sh ${file('run.sh')}`, '/dev/null'],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...autosshEnv(dir, env), TERM: 'dumb', PS1: '$ ', SHELL: '/bin/sh' },
    },
  );
  let shown = '';
  script.stdout.on('data', (bytes: Buffer) => {
    shown += bytes.toString('latin1');
  });
  context.onTestFinished(async () => {
    script.stdin.end();
    for (const one of markedProcesses(dir)) signal(one, 'SIGKILL');
    await until('the terminal to end', () => script.exitCode !== null || script.signalCode !== null);
    rmSync(dir, { recursive: true, force: true });
  });
  const read = (name: string) => {
    try {
      return readFileSync(file(name), 'utf8').trim();
    } catch {
      return '';
    }
  };
  const screen = () => shown;
  const stty = (...words: string[]) => execFileSync('stty', ['-F', read('tty'), ...words], { encoding: 'utf8' }).trim();
  // Not at the end: what autossh has to say may follow on the same line.
  await until('the remote shell', () => /[$#] /.test(shown), { state: screen });
  return {
    screen,
    type: (text: string) => script.stdin.write(text),
    shows: (pattern: RegExp) => until(`${pattern} on the screen`, () => pattern.test(shown), { state: screen }),
    resize: (rows: number, columns: number) => void stty('rows', `${rows}`, 'cols', `${columns}`),
    autossh: () => {
      const own = descendantsOf(script.pid ?? 0).find((one) => one.name === 'autossh');
      if (own === undefined) throw new Error(`no autossh\n${shown}`);
      return own;
    },
    before: () => read('before'),
    now: () => stty('-g'),

    code: async () => Number(await until('the exit code', () => read('code'), { state: screen })),
  };
};
