import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it, type TestContext } from 'vitest';
import { type Autossh, type AutosshOptions, nothingLeft, startAutossh, tunnelArgs } from '../support/autossh.ts';
import { BARRED, whyNotBarred } from '../support/barred.ts';
import { flows } from '../support/echo.ts';
import { autosshIn, serviceIn, sshdIn } from '../support/in-test.ts';
import { itWith, whyNot } from '../support/needs.ts';
import { descendantsOf, isAlive, type Process, processOf, signal } from '../support/processes.ts';
import type { Sshd } from '../support/sshd.ts';
import { listensAt } from '../support/unix-socket.ts';
import { until } from '../support/until.ts';

describe.concurrent('in the background (-f)', () => {
  it('returns 0 when all is set up; lives in a session of its own, in /; the pid file comes and goes', async (context) => {
    const { expect } = context;
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const at = { path: join(sshd.dir, 'there') };
    const [pidFile, logFile] = [join(sshd.dir, 'pid'), join(sshd.dir, 'log')];
    const autossh = autosshIn(context, {
      args: ['-M', '0', '-f', ...tunnelArgs(sshd, '-L', `${at.path}:127.0.0.1:${service.port}`)],
      env: { AUTOSSH_PIDFILE: pidFile, AUTOSSH_LOGFILE: logFile, AUTOSSH_DEBUG: undefined },
    });
    expect(await autossh.ended()).toEqual({ code: 0, signal: null });
    // Not sooner than that: the file is there at the moment of the return.
    const pid = Number(readFileSync(pidFile, 'utf8'));
    expect(readFileSync(pidFile, 'utf8')).toBe(`${pid}\n`);
    expect(autossh.stderr()).toBe('');
    const background = await until('the process', () => processOf(pid));
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe('/');
    expect(sessionOf(background)).toBe(pid);
    await flows(at, () => readFileSync(logFile, 'utf8'));
    signal(background, 'SIGTERM');
    await until('its end', () => !isAlive(background));
    expect(existsSync(pidFile)).toBe(false);
    expect(readFileSync(logFile, 'utf8')).toMatch(
      /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d autossh\[\d+\]: starting ssh \(count 1\)$/m,
    );
    expect(readFileSync(logFile, 'utf8')).toContain(`autossh[${pid}]: received signal to exit (15)`);
    await nothingLeft(autossh.dir);
  });

  /** As a script does: -f, and the signal as soon as that returns. Gives the run, the pid in the background and its log. */
  const signalledAtOnce = async (context: TestContext, sshd: Sshd, name: string) => {
    const dir = mkdtempSync(join(sshd.dir, 'at-once-'));
    const [pidFile, logFile] = [join(dir, 'pid'), join(dir, 'log')];
    const script = `"$@" && cat "$AUTOSSH_PIDFILE" && kill -${name} "$(cat "$AUTOSSH_PIDFILE")"`;
    const autossh = autosshIn(context, {
      wrap: ['sh', '-c', script, 'sh'],
      args: ['-f', ...tunnelArgs(sshd)],
      env: { AUTOSSH_PIDFILE: pidFile, AUTOSSH_LOGFILE: logFile },
    });
    context.expect(await autossh.ended(), autossh.stderr()).toEqual({ code: 0, signal: null });
    return { autossh, pidFile, pid: Number(autossh.stdout().toString()), log: () => readFileSync(logFile, 'utf8') };
  };

  it('SIGTERM as soon as -f returns: an ordered end, and nothing stays', async (context) => {
    const sshd = await sshdIn(context);
    for (let round = 1; round <= 20; round++) {
      const { autossh, pidFile, log } = await signalledAtOnce(context, sshd, 'TERM');
      await nothingLeft(autossh.dir);
      context.expect(existsSync(pidFile), `round ${round}`).toBe(false);
      context.expect(log(), `round ${round}`).toContain('received signal to exit (15)');
    }
  });

  for (const name of ['HUP', 'USR2'])
    it(`SIG${name} as soon as -f returns: it lives on, and looks after ssh`, async (context) => {
      const sshd = await sshdIn(context);
      for (let round = 1; round <= 20; round++) {
        const { autossh, pid, pidFile, log } = await signalledAtOnce(context, sshd, name);
        const background = processOf(pid);
        if (background === undefined) throw new Error(`round ${round}: it is dead\n${log()}`);
        // One at the start of ssh, one for the signal.
        const looks = () => log().match(/check on child \d+$/gm)?.length ?? 0;
        await until('the look', () => looks() === 2 || !isAlive(background), { state: log });
        context.expect(isAlive(background), `round ${round}`).toBe(true);
        signal(background, 'SIGTERM');
        await nothingLeft(autossh.dir);
        context.expect(existsSync(pidFile), `round ${round}`).toBe(false);
      }
    });
});

describe.concurrent('bad input: one line, exit code 1, nothing started', () => {
  const bad: Array<[string, string[], Record<string, string>, RegExp]> = [
    ['a port that is none', ['-M', 'http'], {}, /invalid port "http": expected/],
    ['an echo port that is none', ['-M', '20000:x'], {}, /invalid echo port .*"x": expected/],
    ['a port out of range', ['-M', '65535'], {}, /monitor port \(65535\) out of range: expected/],
    ['junk in AUTOSSH_POLL', [], { AUTOSSH_POLL: '5s' }, /invalid poll time "5s": expected/],
    [
      'a pid file in no directory',
      [],
      { AUTOSSH_PIDFILE: '/nonexistent/pid' },
      /cannot open pid file "\/nonexistent\/pid": No such file or directory/,
    ],
    [
      'a log file in no directory',
      [],
      { AUTOSSH_LOGFILE: '/nonexistent/log' },
      /\/nonexistent\/log: No such file or directory/,
    ],
    [
      'no ssh where AUTOSSH_PATH says',
      [],
      { AUTOSSH_PATH: '/nonexistent/ssh' },
      /\/nonexistent\/ssh: No such file or directory; expected a program that can be run \(AUTOSSH_PATH\)/,
    ],
    [
      'an ssh that may not be run, with a log file and a pid file',
      [],
      { AUTOSSH_PATH: '/etc/passwd', AUTOSSH_LOGFILE: '/dev/null', AUTOSSH_PIDFILE: '/dev/null/pid' },
      /\/etc\/passwd: Permission denied; expected a program that can be run \(AUTOSSH_PATH\)/,
    ],
  ];
  for (const [what, args, env, line] of bad)
    for (const mode of ['', '-f'])
      it(`${what} ${mode}`, async (context) => {
        const { expect } = context;
        const more = mode === '' ? [] : [mode];
        const autossh = autosshIn(context, {
          args: [...more, ...args, '-N', 'nobody@nowhere.invalid'],
          env: { AUTOSSH_DEBUG: undefined, ...env },
        });
        expect(await autossh.ended()).toEqual({ code: 1, signal: null });
        expect(autossh.lines(), autossh.stderr()).toHaveLength(1);
        expect(autossh.lines()[0]).toMatch(line);
        expect(autossh.stdout().toString()).toBe('');
        await nothingLeft(autossh.dir);
      });

  it('a key that is none: ssh says so, and the gate time ends it', async (context) => {
    const sshd = await sshdIn(context);
    const key = join(sshd.dir, 'no-key');
    writeFileSync(key, 'not a key\n', { mode: 0o600 });
    const autossh = autosshIn(context, {
      args: tunnelArgs(withKey(sshd, key)),
      env: { AUTOSSH_GATETIME: '3600' },
    });
    context.expect(await autossh.ended()).toEqual({ code: 1, signal: null });
    await autossh.said(/Load key .*no-key/);
    await autossh.said(/Permission denied \(publickey\)/);
    await autossh.said(/ssh exited prematurely with status 255; autossh exiting/);
  });
});

describe.concurrent('a key that autossh may not read', () => {
  const itBarred = itWith(whyNotBarred());

  for (const [how, mode, option] of [
    ['-i', '', (key: string) => ['-i', key]],
    ['-i', '-f', (key: string) => ['-i', key]],
    ['-o', '', (key: string) => ['-o', `IdentityFile=${key}`]],
  ] as const)
    itBarred(`${how} ${mode}: one line, exit code 1, nothing started`, async (context) => {
      const { expect } = context;
      const sshd = await sshdIn(context);
      const withoutKey = sshd.sshArgs.filter((arg) => arg !== '-i' && arg !== sshd.userKey);
      const autossh = autosshIn(context, {
        wrap: BARRED,
        args: [
          ...(mode === '' ? [] : [mode]),
          ...tunnelArgs({ ...sshd, sshArgs: [...option(secretFile(sshd)), ...withoutKey] }),
        ],
        env: { AUTOSSH_DEBUG: undefined },
      });
      expect(await autossh.ended()).toEqual({ code: 1, signal: null });
      expect(autossh.lines(), autossh.stderr()).toHaveLength(1);
      expect(autossh.lines()[0]).toMatch(/secret: Permission denied; expected a key that can be read$/);
      await nothingLeft(autossh.dir);
      expect(sshd.log()).not.toContain('Connection from');
    });

  itBarred('is no hindrance where its public half can be read and an agent has it', async (context) => {
    const sshd = await sshdIn(context);
    const agent = join(sshd.dir, 'agent');
    const running = spawn('ssh-agent', ['-D', '-a', agent], { stdio: 'ignore' });
    context.onTestFinished(() => void running.kill());
    await until('the agent', () => listensAt(agent));
    const env = { SSH_AUTH_SOCK: agent };
    execFileSync('ssh-add', ['-q', sshd.userKey], { env: { ...process.env, ...env } });
    const key = secretFile(sshd);
    copyFileSync(`${sshd.userKey}.pub`, `${key}.pub`);
    const { sshArgs, destination } = withKey(sshd, key);
    const args = ['-N', ...sshArgs.map((arg) => arg.replace('IdentityAgent=none', 'IdentityAgent=SSH_AUTH_SOCK'))];
    autosshIn(context, { wrap: BARRED, args: [...args, destination], env });
    await sshd.logged(/Accepted publickey/);
  });

  itBarred('is no hindrance beside one that it may read; nor is one that is not there', async (context) => {
    const sshd = await sshdIn(context);
    const others = ['-i', secretFile(sshd), '-i', join(sshd.dir, 'missing')];
    const autossh = autosshIn(context, { wrap: BARRED, args: [...others, ...tunnelArgs(sshd)] });
    await autossh.said(/Warning: Identity file .*missing not accessible: No such file/);
    await sshd.logged(/Accepted publickey/);
  });
});

describe.concurrent('the log', () => {
  const itWithSyslog = itWith(
    whyNot('/dev of its own for a run', 'root, unshare (util-linux) and socat', [
      'unshare',
      ...['--mount', '--propagation', 'private', 'sh', '-ec', 'mount -t tmpfs none /mnt; socat -V'],
    ]),
  );
  itWithSyslog('goes to syslog, with the priority of its lines', async (context) => {
    const sshd = await sshdIn(context);
    // A /dev of its own in a mount namespace, with a socket for syslog that a real listener holds.
    const dev = join(sshd.dir, 'syslog');
    mkdirSync(dev);
    const listener = spawn('socat', ['-u', `UNIX-RECVFROM:${dev}/log,fork`, `OPEN:${dev}/received,creat,append`]);
    context.onTestFinished(async () => {
      listener.kill();
      await until('socat to end', () => listener.exitCode !== null || listener.signalCode !== null);
    });
    await until('the listener', () => existsSync(`${dev}/log`));
    const inside = `mount -t tmpfs none /mnt && mkdir /mnt/dev && cp -a /dev/null /dev/urandom /dev/tty /mnt/dev/ && ln -s "$0/log" /mnt/dev/log && mount --bind /mnt/dev /dev && exec "$@"`;
    const autossh = autosshIn(context, {
      wrap: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', inside, dev],
      args: tunnelArgs(sshd),
      env: { AUTOSSH_DEBUG: undefined },
    });
    const received = () => (existsSync(`${dev}/received`) ? readFileSync(`${dev}/received`, 'latin1') : '');
    // In any order: socat has a child for each line.
    for (const line of [/starting ssh \(count 1\)/, /ssh child pid is/])
      await until(`${line}`, () => line.test(received()), { state: () => `${received()}\n${autossh.stderr()}` });
    // user.info = 1 * 8 + 6, the tag and the pid of autossh.
    context.expect(received()).toMatch(new RegExp(`<14>.*autossh\\[${autossh.pid}\\]: starting ssh`));
    context.expect(autossh.stderr()).toBe('');
    autossh.child.kill('SIGTERM');
    await until('the last line', () => /received signal to exit \(15\)/.test(received()), { state: received });
  });

  it('goes to stderr too with AUTOSSH_DEBUG, and only there from level 7 on', async (context) => {
    const sshd = await sshdIn(context);
    const autossh = autosshIn(context, { args: tunnelArgs(sshd) });
    await autossh.said(/^autossh\[\d+\]: set alarm for 600 secs$/);
  });
});

describe('signals', () => {
  it('SIGUSR1 is ours from the first moment on: no debugger, no death, and at last a restart', async (context) => {
    const { expect } = context;
    const sshd = await sshdIn(context);
    for (let round = 0; round < 8; round++) {
      // As under nohup: what the shell of a parent ignores stays ignored until somebody asks for it.
      const autossh = startAutossh({
        wrap: ['sh', '-c', 'trap "" USR1; echo; exec "$@"', 'sh'],
        args: tunnelArgs(sshd),
      });
      try {
        await until('the shell', () => autossh.stdout().length > 0, { everyMs: 1 });
        // A flood without end could keep a busy machine from ever getting further.
        const enough = performance.now() + 2_000;
        while (!/starting ssh/.test(autossh.stderr()) && performance.now() < enough) {
          expect(autossh.child.exitCode ?? autossh.child.signalCode, autossh.stderr()).toBeNull();
          autossh.child.kill('SIGUSR1');
          await turn();
        }
        await until('a login', () => sshd.sessions().length > 0 && isUp(autossh), { state: autossh.stderr });
        await until('no debugger', () => !listens(autossh.pid));
        const ssh = await autossh.ssh();
        autossh.child.kill('SIGUSR1');
        await autossh.said(/signalled to kill and restart ssh/);
        await autossh.nextSsh(ssh);
        expect(autossh.stderr()).not.toMatch(/debugger|inspector/i);
      } finally {
        await autossh.stop();
      }
    }
  });

  for (const name of ['SIGHUP', 'SIGUSR2'] as const)
    it(`${name} wakes autossh, and the alarm goes on as it was`, async (context) => {
      const sshd = await sshdIn(context);
      const autossh = autosshIn(context, { args: tunnelArgs(sshd) });
      const ssh = await autossh.ssh();
      await autossh.said(/set alarm for 600 secs/);
      const from = autossh.lines().length;
      autossh.child.kill(name);
      await autossh.said(/clear alarm timer \((?:600|5\d\d) secs left\)/, from);
      await autossh.said(/set alarm for (?:600|5\d\d) secs/, from);
      context.expect(isAlive(ssh)).toBe(true);
      context.expect(autossh.starts()).toBe(1);
    });
});

describe.concurrent('ssh-agent', () => {
  /** What ssh has as its agent, and the agents that are ours. */
  const open = async (context: TestContext, options: Partial<AutosshOptions> = {}) => {
    const sshd = await sshdIn(context);
    const autossh = autosshIn(context, { args: tunnelArgs(sshd), ...options });
    await sshd.logged(/Accepted publickey/);
    const ssh = await autossh.ssh();
    const environment = readFileSync(`/proc/${ssh.pid}/environ`, 'latin1').split('\0');
    const socket = environment.find((one) => one.startsWith('SSH_AUTH_SOCK='))?.slice('SSH_AUTH_SOCK='.length);
    return { autossh, socket, agents: () => agentsOf(autossh) };
  };

  it('one that is there is used', async (context) => {
    const { socket, agents } = await open(context, { env: { SSH_AUTH_SOCK: '/somewhere/agent' } });
    context.expect(socket).toBe('/somewhere/agent');
    context.expect(agents()).toEqual([]);
  });

  it('with none, one is started for the session and ends with it', async (context) => {
    const { autossh, socket, agents } = await open(context);
    await until('the agent', () => agents().length > 0 && listensAt(socket ?? ''), { state: autossh.stderr });
    context.expect(agents()).toHaveLength(1);
    autossh.child.kill('SIGTERM');
    await autossh.ended();
    await nothingLeft(autossh.dir);
  });
});

describe.concurrent('the directory that autossh was started in', () => {
  for (const [when, script] of [
    ['before the start', 'cd "$0" && rmdir "$0" && exec "$@"'],
    ['while ssh runs', 'cd "$0" && exec "$@"'],
  ] as const)
    it(`may be removed ${when}: ssh is started, and started again, and its heart beats`, async (context) => {
      const sshd = await sshdIn(context);
      const dir = mkdtempSync(join(sshd.dir, 'here-'));
      const autossh = autosshIn(context, {
        wrap: ['sh', '-c', script, dir],
        args: tunnelArgs(sshd),
        env: { AUTOSSH_POLL: '20' },
      });
      const ssh = await autossh.ssh();
      rmSync(dir, { recursive: true, force: true });
      autossh.child.kill('SIGUSR1');
      await autossh.nextSsh(ssh);
      const from = autossh.lines().findLastIndex((line) => /starting ssh/.test(line));
      await autossh.said(/heartbeat: loop through port \d+ of the server/, from);
      await autossh.said(/connection ok/, from);
    });
});

describe.concurrent('the environment of ssh', () => {
  const environmentOf = ({ pid }: Process): string[] =>
    readFileSync(`/proc/${pid}/environ`, 'latin1')
      .split('\0')
      .filter((one) => /MALLOC/.test(one));

  it('has nothing of what the launcher sets for our own memory, in front and in the background', async (context) => {
    const { expect } = context;
    const sshd = await sshdIn(context);
    const front = autosshIn(context, { args: tunnelArgs(sshd) });
    expect(environmentOf(await front.ssh())).toEqual([]);
    expect(environmentOf(await until('autossh', () => processOf(front.pid)))).toHaveLength(3);
    const pidFile = join(sshd.dir, 'pid');
    const back = autosshIn(context, { args: ['-f', ...tunnelArgs(sshd)], env: { AUTOSSH_PIDFILE: pidFile } });
    expect(await back.ended()).toMatchObject({ code: 0 });
    const background = await until('the background', () => processOf(Number(readFileSync(pidFile, 'utf8'))));
    const ssh = await until('ssh', () => descendantsOf(background.pid).find(({ name }) => name === 'ssh'));
    expect(environmentOf(background)).toHaveLength(3);
    expect(environmentOf(ssh)).toEqual([]);
    signal(background, 'SIGTERM');
    await until('its end', () => !isAlive(background));
  });

  it('has what the user set', async (context) => {
    const autossh = autosshIn(context, {
      args: tunnelArgs(await sshdIn(context)),
      env: { MALLOC_TRIM_THRESHOLD_: '131072' },
    });
    context.expect(environmentOf(await autossh.ssh())).toEqual(['MALLOC_TRIM_THRESHOLD_=131072']);
  });
});

const withKey = <T extends Sshd>(sshd: T, key: string): T => ({
  ...sshd,
  sshArgs: sshd.sshArgs.map((arg) => (arg === sshd.userKey ? key : arg)),
});

/** The user's own key where its owner alone could read it, and does not want to. */
const secretFile = ({ dir, userKey }: Sshd): string => {
  const file = join(dir, 'secret');
  copyFileSync(userKey, file);
  chmodSync(file, 0o000);
  return file;
};

const agentsOf = (autossh: Autossh): Process[] => descendantsOf(autossh.pid).filter((one) => one.name === 'ssh-agent');

/** ssh has been started and is still there. */
const isUp = (autossh: Autossh) => /ssh child pid is/.test(autossh.stderr());

/** Field 6 of /proc/PID/stat. */
const sessionOf = ({ pid }: Process): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]);
};

/** Whether a process has a TCP port open for others. */
const listens = (pid: number): boolean => {
  const listening = ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'latin1')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A')
      .map((fields) => `socket:[${fields[9]}]`),
  );
  return descriptorsOf(pid).some((target) => listening.includes(target));
};
const descriptorsOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
