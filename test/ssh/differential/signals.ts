import { logFrom } from './differences.ts';
import type { Run, Scenario } from './scenario.ts';

/** Signals to autossh and to its ssh. */
const ARGS = ['-M', '0', '-N', 'host'];
/** Six quick ends, and then a pause of ten seconds before the next start: time enough for a signal on a slow machine. */
const GRACE = { AUTOSSH_GATETIME: '0', AUTOSSH_POLL: '3000' };
const PAUSING = ['exit 255', 'exit 255', 'exit 255', 'exit 255', 'exit 255', 'exit 255', 'stay'] as const;

const send =
  (...names: NodeJS.Signals[]) =>
  async (run: Run) => {
    await run.watching(1);
    for (const name of names) run.signal(name);
  };
const whilePausing = (name: NodeJS.Signals) => async (run: Run) => {
  await run.logged(/sleeping for grace time/);
  run.signal(name);
};
/** Wakes it so many times, one after the other, and then ends it. */
const wake = (name: NodeJS.Signals, times: number) => async (run: Run) => {
  await run.watching(1);
  for (let count = 1; count <= times; count++) {
    run.signal(name);
    await run.logged(/set alarm for/, count + 1);
  }
  run.signal('SIGTERM');
};

export const SIGNALS: readonly Scenario[] = [
  { id: 'SIGTERM', args: ARGS, drive: send('SIGTERM') },
  { id: 'SIGINT', args: ARGS, drive: send('SIGINT') },
  { id: 'SIGHUP wakes', args: ARGS, drive: wake('SIGHUP', 2) },
  { id: 'SIGUSR2 wakes', args: ARGS, env: { AUTOSSH_POLL: '100' }, drive: wake('SIGUSR2', 1) },
  { id: 'SIGPIPE is ignored', args: ARGS, drive: send('SIGPIPE', 'SIGTERM') },
  {
    id: 'SIGUSR1 restarts',
    args: ARGS,
    env: { AUTOSSH_MAXSTART: '3' },
    drive: async (run) => {
      for (const start of [1, 2, 3]) {
        await run.watching(start);
        run.signal('SIGUSR1');
      }
    },
  },
  {
    id: 'kill -9 of ssh',
    args: ARGS,
    drive: async (run) => {
      await run.watching(1);
      run.signalSsh(1, 'SIGKILL');
      await run.watching(2);
      run.signal('SIGTERM');
    },
  },
  {
    id: 'SIGQUIT',
    args: ARGS,
    env: ({ work }) => ({ AUTOSSH_PIDFILE: `${work}/pid` }),
    drive: send('SIGQUIT'),
    differs: {
      'sigquit-ends-ssh': (original) => ({
        ...original,
        exit: 1,
        left: [],
        log: [...original.log, 'AUTOSSH: received signal to exit (3)', 'AUTOSSH: clear alarm timer (600 secs left)'],
      }),
    },
  },
  { id: 'SIGTERM during a pause', args: ARGS, env: GRACE, ssh: PAUSING, drive: whilePausing('SIGTERM') },
  { id: 'SIGINT during a pause', args: ARGS, env: GRACE, ssh: PAUSING, drive: whilePausing('SIGINT') },
  {
    id: 'SIGHUP during a pause',
    args: ARGS,
    env: GRACE,
    ssh: PAUSING,
    drive: async (run) => {
      await whilePausing('SIGHUP')(run);
      await run.startedOrEnded(7);
      if (run.ended()) return;
      await run.watching(7);
      run.signal('SIGTERM');
    },
    differs: {
      'signals-while-waiting': (original) => ({
        ...original,
        exit: 1,
        starts: [...original.starts, ['-N', 'host']],
        log: [...original.log, ...LINES_OF_START_7],
      }),
    },
  },
  {
    id: 'SIGUSR1 during a pause',
    args: ARGS,
    env: GRACE,
    ssh: PAUSING,
    drive: async (run) => {
      await whilePausing('SIGUSR1')(run);
      await run.startedOrEnded(7);
      if (run.ended()) return;
      await run.watching(7);
      run.signal('SIGTERM');
    },
    differs: {
      'signals-while-waiting': (original) => ({
        ...original,
        exit: 1,
        starts: [...original.starts, ['-N', 'host']],
        log: [...original.log, ...LINES_OF_START_7],
      }),
    },
  },
  {
    id: 'SIGTERM while ssh ignores it',
    args: ARGS,
    ssh: ['deaf'],
    drive: async (run) => {
      await run.watching(1);
      run.signal('SIGTERM');
      return { needsHelp: await run.helpedAfter(20_000) };
    },
    differs: {
      'stubborn-ssh': (original) => ({
        ...logFrom(
          /received signal to exit/,
          2,
          'AUTOSSH: received signal to exit (15)',
          'AUTOSSH: ssh did not end on SIGTERM, sending SIGKILL',
          'AUTOSSH: clear alarm timer (595 secs left)',
        )(original),
        seen: { needsHelp: false },
      }),
    },
  },
  {
    id: 'SIGUSR1 while ssh ignores SIGTERM',
    args: ARGS,
    env: { AUTOSSH_MAXSTART: '1' },
    ssh: ['deaf'],
    drive: async (run) => {
      await run.watching(1);
      run.signal('SIGUSR1');
      return { needsHelp: await run.helpedAfter(20_000) };
    },
    differs: {
      'stubborn-ssh': (original) => ({
        ...logFrom(
          /signalled to kill and restart ssh/,
          2,
          'AUTOSSH: signalled to kill and restart ssh',
          'AUTOSSH: ssh did not end on SIGTERM, sending SIGKILL',
          'AUTOSSH: clear alarm timer (595 secs left)',
        )(original),
        seen: { needsHelp: false },
      }),
    },
  },
];

const LINES_OF_START_7 = [
  'AUTOSSH: starting ssh (count 7)',
  'SSH7: child of AUTOSSH execing DIR/ssh',
  'AUTOSSH: ssh child pid is SSH7',
  'AUTOSSH: check on child SSH7',
  'AUTOSSH: clear alarm timer (0 secs left)',
  'AUTOSSH: set alarm for 3000 secs',
  'AUTOSSH: received signal to exit (15)',
  'AUTOSSH: clear alarm timer (3000 secs left)',
];
