import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Observation, Place, Run, Scenario } from './scenario.ts';

/** The real ssh and sshd, over a wire between two network namespaces: on one host the loop's two forwards would be in each other's way. */
const REAL = { ssh: ['ssh'], inNetwork: true } as const;
/** Time to log in before the first beat, and for the beats to come round. */
const BEATS = { AUTOSSH_FIRST_POLL: '15', AUTOSSH_POLL: '20', AUTOSSH_MESSAGE: 'real' };

const loop = ({ port, net }: Place) => ['-M', `${port}`, ...net().sshd.sshArgs, '-N', net().sshd.destination];
const echo = ({ port, echoPort, net }: Place) => [
  '-M',
  `${port}:${echoPort}`,
  ...net().sshd.sshArgs,
  '-N',
  net().sshd.destination,
];
const command =
  (...words: string[]) =>
  ({ net }: Place) => ['-M', '0', ...net().sshd.sshArgs, net().sshd.destination, ...words];

const afterBeats = (beats: number) => async (run: Run) => {
  await run.logged(/connection ok/, beats);
  await run.logged(/set alarm for/, beats + 1);
  run.signal('SIGTERM');
};

export const REAL_SSH: readonly Scenario[] = [
  { id: 'real ssh: loop', args: loop, env: BEATS, ...REAL, drive: afterBeats(2), withinMs: 3_000 },
  {
    id: 'real ssh: echo',
    args: echo,
    env: BEATS,
    ...REAL,
    prepare: async ({ net, echoPort, outside }) => {
      const path = join(outside, 'echo');
      const server = createServer((guest) => {
        guest.on('error', () => {});
        guest.pipe(guest);
      });
      await new Promise<void>((resolve) => server.listen(path, resolve));
      await net().network.offer('server', echoPort, path);
      return () => server.close();
    },
    drive: afterBeats(2),
    withinMs: 3_000,
  },
  {
    id: 'real ssh: stopped, so that no beat comes round',
    args: loop,
    env: { ...BEATS, AUTOSSH_GATETIME: '0' },
    ...REAL,
    drive: async (run) => {
      await run.logged(/connection ok/);
      run.signalSsh(1, 'SIGSTOP');
      await run.logged(/port down, restarting ssh/);
      run.signalSsh(1, 'SIGCONT');
      await run.logged(/connection ok/, 2);
      await run.watching(2);
      await run.logged(/set alarm for/, 4);
      run.signal('SIGTERM');
    },
    withinMs: 3_000,
    differs: {
      'no-look-at-a-stop': (original) => ({
        ...original,
        // The second look has no beat behind it.
        log: original.log.toSpliced(original.log.findIndex((line) => /\(([1-9]|1\d|20) secs left/.test(line)) - 1, 3),
      }),
    },
  },
  {
    id: 'real ssh: kill -9',
    args: ({ net }) => ['-M', '0', ...net().sshd.sshArgs, '-N', net().sshd.destination],
    ...REAL,
    drive: async (run) => {
      await run.watching(1);
      run.signalSsh(1, 'SIGKILL');
      await run.watching(2);
      run.signal('SIGTERM');
    },
  },
  {
    id: 'real ssh: ended by SIGTERM, and -N says 0',
    args: loop,
    env: { ...BEATS, AUTOSSH_POLL: '30', AUTOSSH_GATETIME: '0' },
    ...REAL,
    drive: async (run) => {
      await run.logged(/connection ok/);
      await run.logged(/set alarm for/, 2);
      run.signalSsh(1, 'SIGTERM');
      await run.startedOrEnded(2);
      if (run.ended()) return;
      await run.watching(2);
      run.signal('SIGTERM');
    },
    differs: {
      'clean-end-restarts': (original) => ({
        ...original,
        exit: 1,
        starts: [...original.starts, ...original.starts],
        log: [...original.log.slice(0, -3), ...LINES_OF_A_SECOND_START],
      }),
    },
  },
  { id: 'real ssh: remote command, 0', args: command('echo', 'hello'), env: { AUTOSSH_GATETIME: '0' }, ...REAL },
  { id: 'real ssh: remote command, 3', args: command('exit', '3'), env: { AUTOSSH_GATETIME: '0' }, ...REAL },
  {
    id: 'real ssh: connection refused',
    args: ({ net }) => ['-M', '0', '-p', '1', ...net().sshd.sshArgs, '-N', net().sshd.destination],
    ...REAL,
  },
  {
    id: 'real ssh: monitor port taken on the server',
    args: ({ port, net }) => [
      '-M',
      `${port}`,
      '-o',
      'ExitOnForwardFailure=no',
      ...net().sshd.sshArgs,
      '-N',
      net().sshd.destination,
    ],
    env: { ...BEATS, AUTOSSH_GATETIME: '0' },
    ...REAL,
    prepare: async ({ net, port, outside }) => {
      await net().network.offer('server', port, join(outside, 'nobody'));
      await net().network.offer('server', port, join(outside, 'nobody'), '::1');
    },
    drive: async (run) => {
      await run.logged(/connection ok|starting ssh \(count 3/);
      await run.watching(/connection ok/.test(run.log()) ? 2 : 3);
      await run.logged(/set alarm for/, 3);
      run.signal('SIGTERM');
    },
    differs: { 'monitor-port-taken': usesAnotherPort },
  },
];

/** The first ssh lived long enough to set the tries back. */
const LINES_OF_A_SECOND_START = [
  'AUTOSSH: ssh exited with status 0; restarting ssh',
  'AUTOSSH: expired child, returning 1',
  'AUTOSSH: clear alarm timer (30 secs left)',
  'AUTOSSH: checking for grace period, tries = 0',
  'AUTOSSH: starting ssh (count 2)',
  'SSH2: child of AUTOSSH execing DIR/ssh',
  'AUTOSSH: ssh child pid is SSH2',
  'AUTOSSH: check on child SSH2',
  'AUTOSSH: clear alarm timer (0 secs left)',
  'AUTOSSH: set alarm for 15 secs',
  'AUTOSSH: received signal to exit (15)',
  'AUTOSSH: clear alarm timer (15 secs left)',
];

/** The first ssh is ended as soon as it says that the port is taken; the second has a heartbeat over its control socket. */
function usesAnotherPort(original: Observation): Observation {
  const [first = []] = original.starts;
  const asks = (verb: string) => ['-F', 'none', '-S', 'PRIVATE/ctl', '-O', verb];
  // Its answer comes after those for the forwards of the command line.
  const barrier = ['-L', 'PRIVATE/ping-first:127.0.0.1:1', 'x'];
  return {
    ...original,
    starts: [
      first,
      [
        ...['ControlMaster=yes', 'ControlPath=PRIVATE/ctl', 'ControlPersist=no', 'StreamLocalBindUnlink=yes'].flatMap(
          (option) => ['-o', option],
        ),
        ...first.slice(4),
      ],
      [...asks('forward'), ...barrier],
      [...asks('cancel'), ...barrier],
      [...asks('forward'), '-R', '127.0.0.1:0:PRIVATE/echo', 'x'],
      [...asks('forward'), '-L', 'PRIVATE/out:127.0.0.1:CHOSEN', 'x'],
    ],
    stderr: ['Warning: remote port forwarding failed for listen port PORT\r'],
    log: [
      ...original.log.slice(0, 8),
      'AUTOSSH: monitor port PORT is taken on the server; heartbeat through a port that the server chooses instead',
      'AUTOSSH: clear alarm timer (15 secs left)',
      'AUTOSSH: checking for grace period, tries = 1',
      ...LINES_OF_A_SECOND_START.slice(4, 10),
      'AUTOSSH: heartbeat: loop through port CHOSEN of the server',
      'AUTOSSH: received SIGALRM (end-of-life 0)',
      'AUTOSSH: connection ok',
      'AUTOSSH: check on child SSH2',
      'AUTOSSH: clear alarm timer (0 secs left)',
      'AUTOSSH: set alarm for 20 secs',
      'AUTOSSH: received signal to exit (15)',
      'AUTOSSH: clear alarm timer (20 secs left)',
    ],
  };
}
