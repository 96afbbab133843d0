import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'vitest';
import { type Autossh, nothingLeft, tunnelArgs } from '../support/autossh.ts';
import { autosshIn, serviceIn, sshdIn } from '../support/in-test.ts';
import { itWith, whyNot } from '../support/needs.ts';
import { descendantsOf, type Process, processOf, signal } from '../support/processes.ts';
import { until } from '../support/until.ts';

/** A PID namespace of its own, as a container has, with tini as its init. */
const asPid1 = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', '--', 'tini', '--'] as const;
const itUnderTini = itWith(whyNot('tini', 'the program tini', ['tini', '--version']));
const itAsPid1 = itWith(whyNot('PID namespace with tini', 'root, unshare (util-linux) and tini', [...asPid1, 'true']));

/** However we end, nothing of ours goes on. (Files of a killed process stay: nobody is left to remove them.) */
describe.concurrent('nothing is left', () => {
  /** An autossh whose ssh is logged in, and the processes it has. */
  const open = async (context: TestContext, ...args: string[]) => {
    const sshd = await sshdIn(context);
    const autossh = autosshIn(context, { args: [...args, ...tunnelArgs(sshd)] });
    await sshd.logged(/Accepted publickey/);
    await until('ssh and an agent', () => names(autossh.processes(), 'ssh', 'ssh-agent'), { state: autossh.stderr });
    return { autossh, sshd };
  };

  for (const monitor of ['auto', '0'])
    it(`-M ${monitor}: after SIGKILL`, async (context) => {
      const { autossh } = await open(context, '-M', monitor);
      autossh.child.kill('SIGKILL');
      await autossh.ended();
      await nothingLeft(autossh.dir, { files: false });
      tidied(autossh);
    });

  it('after SIGKILL while ssh waits for a server that says nothing', async (context) => {
    const silent = await serviceIn(context, undefined, () => {});
    const autossh = autosshIn(context, {
      args: ['-N', '-F', 'none', '-o', 'BatchMode=yes', '-p', `${silent.port}`, '127.0.0.1'],
    });
    await until('ssh to be connected', () => silent.connections() > 0);
    autossh.child.kill('SIGKILL');
    await autossh.ended();
    await nothingLeft(autossh.dir, { files: false });
    tidied(autossh);
  });

  it('after SIGKILL in the background', async (context) => {
    const { autossh, background } = await openInBackground(context);
    signal(background, 'SIGKILL');
    await nothingLeft(autossh.dir, { files: false });
    tidied(autossh);
  });

  it('after SIGTERM in the background, pid file included', async (context) => {
    const { autossh, background, pidFile } = await openInBackground(context);
    signal(background, 'SIGTERM');
    await nothingLeft(autossh.dir);
    context.expect(existsSync(pidFile)).toBe(false);
  });

  for (const name of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)
    it(`after ${name}`, async (context) => {
      const { autossh } = await open(context);
      autossh.child.kill(name);
      context.expect(await autossh.ended()).toEqual({ code: 1, signal: null });
      await nothingLeft(autossh.dir);
    });

  it('after SIGTERM while a helper of ssh holds on', async (context) => {
    // Stands for an inner ssh behind a silent jump host: it does not look at its standard input.
    const autossh = autosshIn(context, {
      args: ['-N', '-F', 'none', '-o', 'ProxyCommand=sleep 1000', 'nobody@nowhere.invalid'],
    });
    await until('the helper', () => names(autossh.processes(), 'sleep'), { state: autossh.stderr });
    autossh.child.kill('SIGTERM');
    await autossh.ended();
    await nothingLeft(autossh.dir);
  });

  itAsPid1('under tini as PID 1: SIGTERM to tini ends all, and autossh its exit status is the one', async (context) => {
    const sshd = await sshdIn(context);
    const autossh = autosshIn(context, { wrap: asPid1, args: tunnelArgs(sshd) });
    await sshd.logged(/Accepted publickey/);
    const tini = await until('tini', () => descendantsOf(autossh.pid).find((one) => one.name === 'tini'));
    await until('autossh and ssh', () => names(descendantsOf(tini.pid), 'autossh', 'ssh'), { state: autossh.stderr });
    signal(tini, 'SIGTERM');
    context.expect(await autossh.ended()).toEqual({ code: 1, signal: null });
    await autossh.said(/received signal to exit \(15\)/);
    await nothingLeft(autossh.dir);
  });

  for (const [status, code] of [
    [0, 0],
    [7, 1],
  ] as const)
    itAsPid1(`under tini: a remote command that ends with ${status} ends all with ${code}`, async (context) => {
      const sshd = await sshdIn(context);
      const args = [...sshd.sshArgs, sshd.destination, `exit ${status}`];
      const autossh = autosshIn(context, { wrap: asPid1, args });
      context.expect(await autossh.ended()).toEqual({ code, signal: null });
    });

  itUnderTini('under tini: SIGKILL of autossh takes ssh along', async (context) => {
    const sshd = await sshdIn(context);
    const autossh = autosshIn(context, { wrap: ['tini', '-s', '--'], args: tunnelArgs(sshd) });
    await sshd.logged(/Accepted publickey/);
    const own = await until('autossh', () => descendantsOf(autossh.pid).find((one) => one.name === 'autossh'));
    signal(own, 'SIGKILL');
    context.expect(await autossh.ended()).toEqual({ code: 128 + 9, signal: null });
    await nothingLeft(autossh.dir, { files: false });
    tidied(autossh);
  });
});

/** Removes what a killed autossh could not: the end of the test finds no other files. */
const tidied = ({ dir }: Autossh): void => {
  for (const name of readdirSync(dir))
    if (/^autossh-/.test(name)) rmSync(join(dir, name), { recursive: true, force: true });
};

const names = (processes: readonly Process[], ...wanted: string[]): boolean =>
  wanted.every((name) => processes.some((one) => one.name === name));

const openInBackground = async (context: TestContext) => {
  const sshd = await sshdIn(context);
  const pidFile = join(sshd.dir, 'pid');
  const autossh = autosshIn(context, {
    args: ['-f', ...tunnelArgs(sshd)],
    env: { AUTOSSH_PIDFILE: pidFile, AUTOSSH_LOGFILE: join(sshd.dir, 'log') },
  });
  context.expect(await autossh.ended()).toEqual({ code: 0, signal: null });
  await sshd.logged(/Accepted publickey/);
  const background = await until('the process in the background', () =>
    processOf(Number(readFileSync(pidFile, 'utf8'))),
  );
  return { autossh, background, pidFile };
};
