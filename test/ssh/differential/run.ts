import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { BARRED } from '../../support/barred.ts';
import { makeFakeSsh } from '../../support/fake-ssh.ts';
import { canBind, freePort } from '../../support/port.ts';
import { isAlive, type Process, processOf, signal } from '../../support/processes.ts';
import { until } from '../../support/until.ts';
import { watchHalts } from './halts.ts';
import { observe } from './observe.ts';
import type { Env, Observation, Place, Run, Scenario, Surroundings } from './scenario.ts';
import { withSyslog } from './syslog.ts';

export type Outcome = {
  readonly observed: Observation;
  /** ms from each start of ssh to the next, and from the last one to the end. */
  readonly times: readonly number[];
  /** For how long the machine stood still meanwhile. */
  readonly haltedMs: number;
};

const DEADLINE_MS = 120_000;

/** Runs one scenario on one program in a place of its own, and takes away all that it leaves. */
export const runScenario = async (scenario: Scenario, program: string, around: Surroundings): Promise<Outcome> => {
  const dir = mkdtempSync(join(tmpdir(), 'differential-'));
  const place: Place = {
    ...around,
    work: join(dir, 'work'),
    outside: dir,
    port: await twoFreePorts(),
    echoPort: await freePort(),
  };
  mkdirSync(place.work);
  const steps = scenario.ssh ?? ['stay'];
  const ssh = makeFakeSsh(dir, steps);
  const env: Env = {
    PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
    HOME: dir,
    // What ours makes there goes with the run, even if the run is killed.
    TMPDIR: dir,
    XDG_RUNTIME_DIR: undefined,
    PWD: place.work,
    // Else ours would start an agent of its own.
    SSH_AUTH_SOCK: join(dir, 'no-agent'),
    AUTOSSH_PATH: ssh.path,
    AUTOSSH_DEBUG: '1',
    ...(typeof scenario.env === 'function' ? scenario.env(place) : scenario.env),
  };
  const args = typeof scenario.args === 'function' ? scenario.args(place) : scenario.args;
  const [outFile, errFile] = [join(dir, 'stdout'), join(dir, 'stderr')];
  const syslog = scenario.syslog ? await withSyslog(dir) : null;
  const logPath = env['AUTOSSH_LOGFILE'] ? resolve(place.work, env['AUTOSSH_LOGFILE']) : null;
  const pidPath = env['AUTOSSH_PIDFILE'] || null;
  const read = (file: string | null) => (file !== null && existsSync(file) ? readFileSync(file, 'utf8') : '');
  const logged = () => read(errFile) + read(logPath) + (syslog?.text() ?? '');

  const tidy = await scenario.prepare?.(place);

  const network = scenario.inNetwork ? place.net().network.at('client') : [];
  const barred = scenario.barred ? BARRED : [];
  const [file = '', ...rest] = [...network, ...barred, ...(syslog?.command ?? []), program, ...args];
  const [out, err] = [openSync(outFile, 'a'), openSync(errFile, 'a')];
  const child = spawn(file, rest, {
    cwd: place.work,
    env: Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined)),
    stdio: ['ignore', out, err],
    detached: true,
  });
  for (const fd of [out, err]) closeSync(fd);
  const halts = watchHalts();
  let exit: number | string | null = null;
  let exitAt = 0;
  child.once('exit', (code, name) => {
    exit = name ?? code ?? -1;
    exitAt = Date.now();
  });
  /** Every process that belongs to this run, as far as it was seen. */
  const seen = new Map<string, Process>();
  const note = (pid: number | undefined) => {
    const found = pid === undefined ? undefined : processOf(pid);
    if (found) seen.set(`${found.pid} ${found.started}`, found);
    return found;
  };
  const goesToBackground = args.some((arg) => /^-\w*f/.test(arg));
  /** The pid that is supervised: with -f it is that of the pid file. */
  const inBackground = () => Number(read(pidPath === null ? null : resolve(place.work, pidPath))) || null;
  let background: number | null = null;
  const pid = () => {
    background ??= exit === 0 ? inBackground() : null;
    return background ?? child.pid ?? 0;
  };
  const waitFor = (what: string, probe: () => unknown) =>
    until(what, () => (note(pid()), probe()), { deadlineMs: DEADLINE_MS, everyMs: 25, state: logged });

  const run: Run = {
    ...place,
    pid,
    log: logged,
    ended: () => exit !== null,
    over: async () => {
      await waitFor('autossh to end', () => exit !== null);
    },
    starts: () => ssh.starts().length,
    start: (number) => ssh.starts()[number - 1] ?? { env: {}, cwd: '', signals: '' },
    watching: async (number) => {
      // Until then the process to be watched would be the one in the foreground.
      if (goesToBackground) await waitFor('autossh to go to the background', () => exit !== null);
      await waitFor(`start ${number} of ssh`, () => {
        const start = ssh.starts()[number - 1];
        return start !== undefined && note(start.pid);
      });
      await waitFor(`autossh to watch start ${number}`, () => catchesSigusr1(pid()) && processOf(pid())?.state === 'S');
      if (/checking for grace period/.test(logged())) await waitFor('the alarm', () => hasSetAlarm(logged(), number));
    },
    logged: async (pattern, times = 1) => {
      await waitFor(
        `${times} times ${pattern}`,
        () => (logged().match(new RegExp(pattern, 'g'))?.length ?? 0) >= times,
      );
    },
    signal: (name) => {
      process.kill(pid(), name);
    },
    signalSsh: (number, name) => {
      const start = ssh.starts()[number - 1];
      if (start !== undefined) process.kill(start.pid, name);
    },
    startedOrEnded: async (number) => {
      await waitFor(`start ${number} of ssh`, () => exit !== null || ssh.starts().length >= number);
    },
    helpedAfter: async (ms) => {
      const giveUpAt = performance.now() + ms;
      await waitFor('autossh to end, or the time to help it', () => exit !== null || performance.now() > giveUpAt);
      if (exit !== null) return false;
      run.signalSsh(1, 'SIGKILL');
      return true;
    },
  };

  try {
    const found = await (scenario.drive ?? endWhenItStays(steps))(run);
    await run.over();
    if (background !== null) {
      await waitFor('autossh to end in the background', () => !isRunning(background ?? 0));
      exitAt = Date.now();
    }
    const starts = ssh.starts();
    for (const start of starts) note(start.pid);
    const left = [
      ...starts.filter((start) => isRunning(start.pid)).map((start) => `process ${start.pid}`),
      ...readdirSync(place.work).filter((name) => join(place.work, name) !== logPath),
    ];
    const moments = [...starts.map(({ at }) => at), exitAt];
    return {
      observed: observe({
        ...{ place, dir, program, exit: exit ?? -1, starts, left, seen: found },
        goesToBackground,
        pids: [child.pid ?? 0, ...(background === null ? [] : [background])],
        stdout: read(outFile),
        stderr: read(errFile),
        logFile: logPath === null ? null : read(logPath),
        syslog: syslog?.text() ?? '',
      }),
      times: moments.slice(1).map((at, index) => at - (moments[index] ?? 0)),
      haltedMs: halts.ms(),
    };
  } finally {
    halts.stop();
    for (const start of ssh.starts()) note(start.pid);
    note(pid());
    for (const one of seen.values()) if (isAlive(one)) signal(one, 'SIGKILL');
    syslog?.stop();
    tidy?.();
    rmSync(dir, { recursive: true, force: true });
  }
};

const endWhenItStays = (steps: readonly string[]) => async (run: Run) => {
  if (!['stay', 'deaf'].includes(steps.at(-1) ?? '')) return;
  await run.startedOrEnded(steps.length);
  if (run.ended()) return;
  await run.watching(steps.length);
  run.signal('SIGTERM');
};

const hasSetAlarm = (log: string, start: number): boolean =>
  (log.split(/starting ssh \(count \d+/)[start] ?? '').includes('set alarm for');

const isRunning = (pid: number): boolean => {
  const state = processOf(pid)?.state;
  return state !== undefined && state !== 'Z' && state !== 'X';
};

/** The original catches SIGUSR1 only while it watches an ssh, and a signal that comes sooner would end it. */
const catchesSigusr1 = (pid: number): boolean => {
  try {
    const [, mask = '0'] = /SigCgt:\s*([0-9a-f]+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return ((BigInt(`0x${mask}`) >> 9n) & 1n) === 1n;
  } catch {
    return false;
  }
};

const twoFreePorts = async (): Promise<number> => {
  for (;;) {
    const port = await freePort();
    if (await canBind('127.0.0.1', port + 1)) return port;
  }
};
