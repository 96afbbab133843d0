import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { all, logFrom } from './differences.ts';
import type { Observation, Run, Scenario } from './scenario.ts';

/** Where the log goes, what it looks like there, the pid file, and the background. */
const ARGS = ['-M', '0', 'host'];
const QUIET = { AUTOSSH_DEBUG: undefined };

/** How many seconds the times in the log file are from now, in whole minutes; in the time zone that TZ=UTC-9 means. */
const minutesOff = (file: string): number[] => {
  const times = readFileSync(file, 'utf8').matchAll(/^(\d+)\/(\d+)\/(\d+) (\S+) /gm);
  return [...times].map(([, year, month, day, time]) =>
    Math.round((Date.parse(`${year}-${month}-${day}T${time}+09:00`) - Date.now()) / 60_000),
  );
};
const inBackground = async (run: Run) => {
  await run.watching(1);
  const { cwd } = run.start(1);
  const isOwn = readFileSync(join(run.work, 'pid'), 'utf8') === `${run.pid()}\n`;
  run.signal('SIGTERM');
  return { cwd, isOwn };
};

const loglevel = (level: string): Scenario => ({
  id: `AUTOSSH_LOGLEVEL=${level}`,
  args: ARGS,
  env: { ...QUIET, AUTOSSH_LOGLEVEL: level, AUTOSSH_LOGFILE: 'log', AUTOSSH_GATETIME: '0' },
  ssh: ['exit 255', 'exit 3'],
});

/** Syslog has the words of 1.4g without a pid when they come before its log is open. */
const syslogRefused =
  (expected: string) =>
  (original: Observation): Observation => {
    const said = `${(original.syslog[0] ?? '').replace('autossh:', 'AUTOSSH:')}${expected}`;
    return { ...original, syslog: [said], stderr: [said.replace(/^<\d+> AUTOSSH/, 'autossh')] };
  };

export const LOGS: readonly Scenario[] = [
  ...['0', '3', '5', '6', '7', '0x7'].map(loglevel),
  { id: 'no log file, no syslog', args: ARGS, env: QUIET, ssh: ['stay'] },
  {
    id: 'errors, no log file, no syslog',
    args: ARGS,
    env: QUIET,
    ssh: ['exit 1'],
    differs: {
      'errors-on-stderr': (original) => ({
        ...original,
        log: ['AUTOSSH: ssh exited prematurely with status 1; autossh exiting'],
      }),
    },
  },
  {
    id: 'log file and AUTOSSH_DEBUG',
    args: ARGS,
    env: { AUTOSSH_LOGFILE: 'log', TZ: 'UTC-9' },
    ssh: ['exit 3'],
    drive: async (run) => {
      await run.over();
      return [...new Set(minutesOff(join(run.work, 'log')))];
    },
  },
  {
    id: 'a log file that is there already',
    args: ARGS,
    env: { AUTOSSH_LOGFILE: 'log' },
    ssh: ['exit 3'],
    prepare: async ({ work }) =>
      writeFileSync(join(work, 'log'), '2008/01/02 03:04:05 autossh[1]: from an earlier run\n'),
  },
  {
    id: 'syslog',
    args: ARGS,
    env: { ...QUIET, AUTOSSH_GATETIME: '0' },
    ssh: ['exit 255', 'exit 3'],
    syslog: true,
    drive: async (run) => run.logged(/status 3; autossh exiting/),
  },
  {
    id: 'syslog and AUTOSSH_DEBUG',
    args: ARGS,
    ssh: ['exit 3'],
    syslog: true,
    drive: async (run) => run.logged(/clear alarm timer/, 4),
    differs: {
      'pid-in-syslog': (original) => ({
        ...original,
        syslog: original.syslog.map((line) => line.replace('SSH1: child', 'AUTOSSH: child')),
      }),
    },
  },
  {
    id: 'syslog has what is wrong with a variable',
    args: ARGS,
    env: { ...QUIET, AUTOSSH_POLL: 'junk' },
    syslog: true,
    drive: async (run) => run.logged(/<\d+>.*invalid poll time/),
    differs: { 'errors-on-stderr': syslogRefused(': expected a whole number of seconds, at least 1') },
  },
  {
    id: 'syslog has what is wrong with the port',
    args: ['-M', 'junk', 'host'],
    env: QUIET,
    syslog: true,
    drive: async (run) => run.logged(/<\d+>.*invalid port/),
    differs: { 'errors-on-stderr': syslogRefused(': expected a port number, 0 (monitoring off) or "auto"') },
  },
  {
    id: 'pid file',
    args: ARGS,
    env: { AUTOSSH_PIDFILE: 'pid' },
    drive: async (run) => {
      await run.watching(1);
      const content = readFileSync(join(run.work, 'pid'), 'utf8');
      run.signal('SIGTERM');
      return { isOwn: content === `${run.pid()}\n` };
    },
  },
  { id: 'pid file after an early end', args: ARGS, env: { AUTOSSH_PIDFILE: 'pid' }, ssh: ['exit 1'] },
  {
    id: '-f',
    args: ['-M', '0', '-f', '-N', 'host'],
    env: ({ work }) => ({ AUTOSSH_PIDFILE: join(work, 'pid'), AUTOSSH_LOGFILE: 'log' }),
    drive: inBackground,
  },
  {
    id: '-f in a bundle, before the monitor port',
    args: ({ port }) => ['-fN', '-M', `${port}`, '-vf', 'host'],
    env: ({ work }) => ({ AUTOSSH_PIDFILE: join(work, 'pid'), AUTOSSH_LOGFILE: join(work, 'log') }),
    drive: inBackground,
    differs: {
      'upstream-not-debian': (original) => ({
        ...original,
        starts: [['-N', '-L', 'PORT:127.0.0.1:PORT', '-R', 'PORT:127.0.0.1:PORT+1', '-v', 'host']],
      }),
    },
  },
  {
    id: '-f does not give up on the first try',
    args: ['-f', '-M', '0', 'host'],
    env: ({ work }) => ({ AUTOSSH_PIDFILE: join(work, 'pid'), AUTOSSH_LOGFILE: 'log', AUTOSSH_GATETIME: '30' }),
    ssh: ['exit 1', 'stay'],
    drive: async (run) => {
      await run.watching(2);
      run.signal('SIGTERM');
    },
  },
  {
    id: '-f and a pid file that cannot be written',
    args: ['-f', '-M', '0', 'host'],
    env: { AUTOSSH_PIDFILE: '/nowhere/pid', AUTOSSH_LOGFILE: 'log' },
    drive: async (run) => run.logged(/cannot open pid file/),
    differs: {
      'background-failures-reported': all(
        logFrom(
          /cannot open pid file/,
          1,
          'AUTOSSH: cannot open pid file "/nowhere/pid": No such file or directory; expected a file that can be written (AUTOSSH_PIDFILE)',
        ),
        (original) => ({
          ...original,
          exit: 1,
          stderr: [
            'autossh: cannot open pid file "/nowhere/pid": No such file or directory; expected a file that can be written (AUTOSSH_PIDFILE)',
          ],
        }),
      ),
    },
  },
  {
    id: 'own agent where none runs',
    args: ARGS,
    env: { SSH_AUTH_SOCK: undefined },
    drive: async (run) => {
      await run.watching(1);
      const { env } = run.start(1);
      run.signal('SIGTERM');
      return { hasAgent: /autossh-agent-\w+\/agent$/.test(env['SSH_AUTH_SOCK'] ?? '') };
    },
    differs: { 'own-agent': (original) => ({ ...original, seen: { hasAgent: true } }) },
  },
];
