import { logFrom } from './differences.ts';
import { type Manner, startPeer } from './peer.ts';
import type { Observation, Place, Run, Scenario } from './scenario.ts';

/** The heartbeats over fixed ports, byte by byte: a peer of the test's own stands where ssh and the server would. */
const loop = ({ port }: Place) => ['-M', `${port}`, '-N', 'host'];
const echo = ({ port, echoPort }: Place) => ['-M', `${port}:${echoPort}`, '-N', 'host'];
/** Network timeouts are half the poll time: long enough that busy processors keep them. */
const BEATS = { AUTOSSH_FIRST_POLL: '1', AUTOSSH_POLL: '10', AUTOSSH_MESSAGE: 'all is well' };
const CLOSE = 2_000;

/** Runs with the peer to its end, or until so many beats came round; finds the messages. */
const withPeer = (manner: Manner, beats?: number) => async (run: Run) => {
  const peer = await startPeer(run.port, manner, run.pid());
  try {
    if (beats !== undefined) {
      await run.logged(/connection ok/, beats);
      await run.logged(/set alarm for/, beats + 1);
      run.signal('SIGTERM');
    }
    await run.over();
    return peer.messages();
  } finally {
    peer.stop();
  }
};
const ok = (id: string, args: Scenario['args'], manner: Manner): Scenario => ({
  id,
  args,
  env: BEATS,
  drive: withPeer(manner, 2),
  withinMs: CLOSE,
});
const down = (id: string, args: Scenario['args'], manner: Manner, differs: Scenario['differs'] = {}): Scenario => ({
  id,
  differs,
  args,
  env: { ...BEATS, AUTOSSH_POLL: '6', AUTOSSH_MAXSTART: '2' },
  drive: withPeer(manner),
  withinMs: CLOSE,
});

export const HEARTBEAT: readonly Scenario[] = [
  ok('loop: beats', loop, 'loop'),
  ok('echo: beats', echo, 'echo'),
  { ...ok('loop: no message', loop, 'loop'), env: { AUTOSSH_FIRST_POLL: '1', AUTOSSH_POLL: '10' } },
  {
    ...ok('AUTOSSH_FIRST_POLL before the first beat only', loop, 'loop'),
    env: { AUTOSSH_FIRST_POLL: '3', AUTOSSH_POLL: '10' },
    drive: withPeer('loop', 2),
  },
  down('loop: nothing comes back', loop, 'silent loop', { 'monitor-port-taken': gaveUpTheLoop }),
  down('loop: nobody connects back', loop, 'silent', { 'monitor-port-taken': gaveUpTheLoop }),
  down('loop: something else comes back', loop, 'garbled loop', {
    'one-line-per-message': oneLine,
    'monitor-port-taken': gaveUpTheLoop,
  }),
  down('loop: the way out is closed', loop, 'closing', { 'monitor-port-taken': gaveUpTheLoop }),
  {
    ...down('loop: the whole network timeout', loop, 'silent'),
    env: { AUTOSSH_FIRST_POLL: '1', AUTOSSH_POLL: '30', AUTOSSH_MAXSTART: '1' },
  },
  down('echo: nothing comes back', echo, 'silent'),
  down('echo: something else comes back', echo, 'garbled echo', { 'one-line-per-message': oneLine }),
  // When the kernel tells of the closed connection, before or after the bytes have left, is chance.
  {
    ...down('echo: the connection is closed', echo, 'closing'),
    ignoring: /not what I sent|error on poll|tried connection/,
  },
  {
    id: 'no forward at the monitor port',
    args: loop,
    env: { AUTOSSH_POLL: '1', AUTOSSH_MAXSTART: '2' },
    drive: async (run) => {
      await run.over();
    },
    withinMs: CLOSE,
  },
  {
    id: 'SIGTERM during a beat',
    args: loop,
    env: { AUTOSSH_FIRST_POLL: '1', AUTOSSH_POLL: '20' },
    drive: async (run) => {
      const peer = await startPeer(run.port, 'silent', run.pid());
      try {
        await run.watching(1);
        await peer.hasGuest();
        run.signal('SIGTERM');
        await run.over();
      } finally {
        peer.stop();
      }
    },
    differs: {
      'signal-during-a-beat': logFrom(
        /error polling/,
        5,
        'AUTOSSH: received signal to exit (15)',
        'AUTOSSH: clear alarm timer (0 secs left)',
      ),
    },
  },
  {
    id: 'SIGHUP does not bring the beat forward',
    args: loop,
    env: { AUTOSSH_POLL: '10' },
    drive: async (run) => {
      await run.watching(1);
      run.signal('SIGHUP');
      await run.logged(/set alarm for/, 2);
      return withPeer('loop', 1)(run);
    },
    withinMs: CLOSE,
  },
];

/** After two beats that never came round our log has one line more, and the third ssh would get another heartbeat. */
function gaveUpTheLoop(original: Observation): Observation {
  const at = original.log.findLastIndex((line) => /port down/.test(line));
  const line =
    'AUTOSSH: the heartbeat never came round through port PORT of the server, which somebody else may have; heartbeat through a port that the server chooses instead';
  return { ...original, log: original.log.toSpliced(at, 0, line) };
}

function oneLine(original: Observation): Observation {
  return { ...original, log: original.log.map((line) => line.replaceAll('\\r\\n', '..')) };
}
