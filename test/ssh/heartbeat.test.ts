import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'vitest';
import { type Autossh, tunnelArgs } from '../support/autossh.ts';
import { flows } from '../support/echo.ts';
import { autosshIn, networkIn, serviceIn, sshdIn } from '../support/in-test.ts';
import { itWith } from '../support/needs.ts';
import { whyNoNetns } from '../support/netns.ts';
import { freePort } from '../support/port.ts';
import { until } from '../support/until.ts';

/** Beats on the wire. The fixed ports are the same on both sides, so that they need a server with ports of its own. */
describe.concurrent('heartbeats', () => {
  const itOverNetwork = itWith(whyNoNetns());
  // A login has AUTOSSH_FIRST_POLL, a beat half of AUTOSSH_POLL for each step: enough for a machine that is busy with other tests.
  const POLL = { AUTOSSH_POLL: '16', AUTOSSH_FIRST_POLL: '10' };

  /** Two beats in a row were fine and ssh was started once. */
  const beatsTwice = async ({ expect }: TestContext, autossh: Autossh, starts = 1) => {
    await autossh.said(/connection ok/);
    await autossh.said(/connection ok/, autossh.lines().length);
    expect(autossh.starts(), autossh.stderr()).toBe(starts);
  };

  it('auto: a loop through a port that the server chooses, without a word on stderr but the log', async (context) => {
    const sshd = await sshdIn(context);
    const autossh = autosshIn(context, { args: ['-M', 'auto', ...tunnelArgs(sshd)], env: POLL });
    await beatsTwice(context, autossh);
    await autossh.said(/heartbeat: loop through port \d+ of the server/);
    context.expect(autossh.lines().filter((line) => !line.startsWith('autossh['))).toEqual([]);
  });

  it('-M 0: no beats, ssh left alone', async (context) => {
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const port = await freePort();
    const args = ['-M', '0', ...tunnelArgs(sshd, '-L', `${port}:127.0.0.1:${service.port}`)];
    const autossh = autosshIn(context, { args, env: { AUTOSSH_POLL: '1' } });
    await flows({ host: '127.0.0.1', port }, autossh.stderr);
    await until('three alarms', () => alarms(autossh) >= 3, { state: autossh.stderr });
    context.expect(autossh.stderr()).toContain('port set to 0, monitoring disabled');
    context.expect(autossh.stderr()).not.toContain('connection ok');
    context.expect(autossh.starts()).toBe(1);
  });

  itOverNetwork('-M port: the loop of the original', async (context) => {
    const { path, sshd } = await networkIn(context);
    const args = ['-M', '20000', ...tunnelArgs(sshd)];
    const autossh = autosshIn(context, { wrap: path.at('client'), args, env: POLL });
    await beatsTwice(context, autossh);
  });

  itOverNetwork(
    '-M port:echo_port: the text of the original on the wire, a new one for every beat',
    async (context) => {
      const { path, sshd } = await networkIn(context);
      let heard = '';
      const service = await serviceIn(context, { path: join(sshd.dir, 'echo') }, (guest) => {
        guest.on('data', (bytes) => {
          heard += bytes.toString('latin1');
          guest.write(bytes);
        });
      });
      await path.offer('server', 7, service.path);
      const args = ['-M', '20000:7', ...tunnelArgs(sshd)];
      const env = { ...POLL, AUTOSSH_MESSAGE: 'from the test' };
      const autossh = autosshIn(context, { wrap: path.at('client'), args, env });
      await beatsTwice(context, autossh);
      const beats = heard.split('\r\n').slice(0, -1);
      const own = await autossh.said(/ssh child pid is/);
      const pid = own.match(/autossh\[(\d+)\]/)?.[1];
      for (const beat of beats)
        context.expect(beat).toMatch(new RegExp(`^${quoted(hostname())} autossh ${pid} \\d+ from the test$`));
      context.expect(new Set(beats).size).toBe(beats.length);
      context.expect(beats.length).toBeGreaterThanOrEqual(2);
    },
  );

  for (const [what, serve] of [
    ['other bytes', () => (guest: Socket) => void guest.on('data', (bytes) => guest.write(bytes.map((b) => b ^ 1)))],
    ['nothing', () => (guest: Socket) => void guest.resume()],
    ['the end', () => (guest: Socket) => void guest.on('data', () => guest.end())],
    ['what it heard the first time', () => replays()],
  ] as const)
    itOverNetwork(`an echo service that answers with ${what} has not answered`, async (context) => {
      const { path, sshd } = await networkIn(context);
      const service = await serviceIn(context, { path: join(sshd.dir, 'echo') }, serve());
      await path.offer('server', 7, service.path);
      const args = ['-M', '20000:7', ...tunnelArgs(sshd)];
      const autossh = autosshIn(context, { wrap: path.at('client'), args, env: POLL });
      // Only what was replayed to the very beat that it came from may have passed.
      const isReplay = what === 'what it heard the first time';
      if (isReplay) await autossh.said(/connection ok/);
      const from = autossh.lines().length;
      await autossh.said(/port down, restarting ssh/, from);
      await autossh.said(/starting ssh/, from);
      const passed = autossh.lines().filter((line) => /connection ok/.test(line)).length;
      context.expect(passed).toBe(isReplay ? 1 : 0);
    });

  itOverNetwork('a stranger on the way back is no echo, and does not cost the beat', async (context) => {
    const { path, sshd } = await networkIn(context);
    const stranger = { path: await path.reach('client', 20_001, join(sshd.dir, 'stranger')) };
    const args = ['-M', '20000', ...tunnelArgs(sshd)];
    const env = { AUTOSSH_POLL: '30', AUTOSSH_FIRST_POLL: '15' };
    const autossh = autosshIn(context, { wrap: path.at('client'), args, env });
    await sshd.logged(/Accepted publickey/);
    await autossh.ssh();
    // The true way back comes late, so that the stranger is the first.
    sshd.pause('sessions');
    const guest = await intrude(stranger, autossh, 0, 'somebody else entirely\r\n'.repeat(20));
    await autossh.said(/not what I sent/);
    sshd.resume('sessions');
    await autossh.said(/connection ok/);
    guest.destroy();
    context.expect(autossh.starts()).toBe(1);
  });

  itOverNetwork('a stranger alone on the way back does not keep a dead tunnel alive', async (context) => {
    const { path, sshd } = await networkIn(context);
    const stranger = { path: await path.reach('client', 20_001, join(sshd.dir, 'stranger')) };
    const args = ['-M', '20000', ...tunnelArgs(sshd)];
    const autossh = autosshIn(context, { wrap: path.at('client'), args, env: POLL });
    await autossh.said(/connection ok/);
    const from = autossh.lines().length;
    sshd.pause('sessions');
    const guest = await intrude(stranger, autossh, from, `${hostname()} autossh ${autossh.pid} 12345 \r\n`.repeat(9));
    await autossh.said(/not what I sent/, from);
    await autossh.said(/port down, restarting ssh/, from);
    guest.destroy();
    sshd.resume('sessions');
  });

  for (const [what, config, keyOptions] of [
    ['AllowTcpForwarding no', ['AllowTcpForwarding no'], ''],
    ['DisableForwarding yes', ['DisableForwarding yes'], ''],
    ['AllowTcpForwarding local', ['AllowTcpForwarding local'], ''],
    ['PermitOpen none', ['PermitOpen none'], ''],
    ['restrict in authorized_keys', [], 'restrict'],
  ] as const)
    it(`a server with ${what}: beats by refusal, ssh stays`, async (context) => {
      const sshd = await sshdIn(context, { config, keyOptions });
      const autossh = autosshIn(context, { args: [...tunnelArgs(sshd)], env: POLL });
      await beatsTwice(context, autossh);
      await autossh.said(/the server (?:allows no loop|refuses connections to its own port)/);
      context.expect(autossh.lines().filter((line) => !line.startsWith('autossh['))).toEqual([]);
      const ssh = await autossh.ssh();
      // And it is a heartbeat: a server that stands still is noticed.
      sshd.pause();
      await autossh.said(/port down, restarting ssh/);
      sshd.resume();
      await autossh.nextSsh(ssh);
      await autossh.said(/connection ok/, autossh.lines().length);
    });
});

const alarms = (autossh: Autossh) => autossh.lines().filter((line) => /received SIGALRM/.test(line)).length;
const quoted = (text: string) => text.replace(/[.\\+*?[\]^$(){}|]/g, '\\$&');

/** Answers whatever it hears with the first text that it ever heard. */
const replays = () => {
  let first: Buffer | undefined;
  return (guest: Socket) =>
    void guest.on('data', (bytes: Buffer) => {
      first ??= bytes;
      guest.write(first);
    });
};

/** Comes in with the next beat, and says its text: at other times it would be shown out at once. */
const intrude = async (to: { path: string }, autossh: Autossh, from: number, text: string): Promise<Socket> => {
  await autossh.said(/received SIGALRM/, from);
  const socket = connect(to);
  socket.on('error', () => {}).resume();
  socket.write(text);
  return socket;
};
