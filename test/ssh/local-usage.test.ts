import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { operator } from '../support/local.ts';

/** The binary as a person meets it; no ssh is started. */
describe('autossh-operator', () => {
  const commands = ['run', 'validate', 'explain', 'known-hosts', 'controller', 'sidecar'];

  it('says what it can do, and which version it is', async () => {
    const help = await operator(['--help']);
    expect(help).toMatchObject({ code: 0, err: '' });
    for (const command of commands) expect(help.out).toMatch(new RegExp(`^  ${command} +\\S`, 'm'));
    expect(await operator(['--version'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^autossh-operator \d+\.\d+\.\d+/),
    });
  });

  it.each([[[]], [['runn']], [['constructor']]])('refuses %j and says what there is', async (args) => {
    const { code, out, err } = await operator(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(
      `expected a command, got ${JSON.stringify(args[0] ?? '')}\n\nusage: autossh-operator COMMAND`,
    );
  });

  it.each(commands)(
    '%s --help tells its usage; an option it does not know is refused with the usage',
    async (command) => {
      const help = await operator([command, '--help']);
      expect(help).toMatchObject({ code: 0, err: '' });
      expect(help.out).toMatch(new RegExp(`^usage: autossh-operator ${command} `));
      const wrong = await operator([command, '--nonsense']);
      expect(wrong).toEqual({
        code: 2,
        out: '',
        err: `autossh-operator ${command}: Unknown option '--nonsense'\n\n${help.out}`,
      });
    },
  );

  it.each([
    [['run'], 'run: expected -f FILE; got none'],
    [['validate'], 'validate: expected -f FILE; got none'],
    [['explain'], 'explain: expected -f FILE; got none'],
    [['known-hosts'], 'known-hosts: expected HOST or HOST:PORT; got none'],
    [['run', '-f', 'x', '--http-port', '70000'], 'run: --http-port: expected a whole number, 1-65535; got "70000"'],
    [['validate', '-f', 'x', '-o', 'xml'], 'validate: --output: expected text or json; got "xml"'],
    [['validate', '-f', 'x', '--for', 'fun'], 'validate: --for: expected run or cluster; got "fun"'],
    [['known-hosts', 'x', '--timeout', '0'], 'known-hosts: --timeout: expected a whole number, 1-60; got "0"'],
    [['known-hosts', 'x', '--timeout', '1e1'], 'known-hosts: --timeout: expected a whole number, 1-60; got "1e1"'],
    [['controller'], 'controller: expected --image IMAGE of the sidecars; got none'],
    [['sidecar', '--http-port', 'x'], 'sidecar: --http-port: expected a whole number, 1-65535; got "x"'],
  ])('%j is refused in words', async (args, words) => {
    const { code, out, err } = await operator(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(`autossh-operator ${words}\n\nusage: `);
  });

  it('known-hosts takes no other names of an object, all said at once', async () => {
    const { code, out, err } = await operator(['known-hosts', '127.0.0.1:1', 'a b', '--name', 'A', '-n', 'a\nb']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err.split('\n').map((line) => line.split(':')[0])).toEqual(['"a b"', '--name', '--namespace', '']);
  });

  it('validate takes standard input, a directory and names without -f; what cannot be read is said', async () => {
    const samples = 'deploy/samples/local';
    expect((await operator(['validate', '--for', 'cluster', `${samples}/socks-proxy.yaml`])).code).toBe(0);
    const { code, err } = await operator(['validate', '-f', 'nowhere.yaml']);
    expect({ code, err }).toEqual({
      code: 1,
      err: 'nowhere.yaml: expected a readable file or directory of manifests, of at most 16 MiB a file; got No such file or directory\n',
    });
    const empty = await operator(['validate', '-f', '', '-i', '']);
    expect(empty.err).toMatch(/^"": expected a readable file or .*\n"": expected a readable file with a private key;/);
    const stdin = await operator(['validate', '-f', '-'], 'kind: [');
    expect(stdin.code).toBe(1);
    expect(stdin.err).toMatch(/^stdin:1:\d+: expected valid YAML; got an error: /);
  });

  it('does not wait for a pipe that nobody writes to, nor for the end of what has none', async (context) => {
    const dir = mkdtempSync(join(tmpdir(), 'use-'));
    context.onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    execFileSync('mkfifo', [join(dir, 'pipe.yaml')]);
    const expected = 'expected a readable file or directory of manifests, of at most 16 MiB a file';
    const inside = await operator(['validate', '-f', dir]);
    expect(inside).toEqual({ code: 1, out: '', err: `${dir}/pipe.yaml: ${expected}; got something else\n` });
    const endless = await operator(['validate', '-f', '/dev/zero']);
    expect(endless).toEqual({ code: 1, out: '', err: `/dev/zero: ${expected}; got more\n` });
  });
});
