import { logFrom } from './differences.ts';
import { type Manner, type Peer, startPeer } from './peer.ts';
import type { Observation, Place, Run, Scenario } from './scenario.ts';

/** The heartbeats over fixed ports, byte by byte: a peer of the test's own stands where ssh and the server would. */
const loop = ({ port }: Place) => ['-M', `${port}`, '-N', 'host'];
const echo = ({ port, echoPort }: Place) => ['-M', `${port}:${echoPort}`, '-N', 'host'];
/** Network timeouts are half the poll time: long enough that busy processors keep them. */
const BEATS = { AUTOSSH_FIRST_POLL: '1', AUTOSSH_POLL: '20', AUTOSSH_MESSAGE: 'all is well' };
const CLOSE = 3_000;

/** By the monitor port of their run. Each is there before autossh is: the first beat may come very soon. */
const peers = new Map<number, Peer>();
const peerOf = ({ port }: Place): Peer => {
  const peer = peers.get(port);
  if (peer === undefined) throw new Error(`expected a peer at port ${port}`);
  return peer;
};
const withPeer = (manner: Manner) => async (at: Place) => {
  const peer = await startPeer(at.port, manner);
  peers.set(at.port, peer);
  return () => {
    peers.delete(at.port);
    peer.stop();
  };
};

/** Runs to its end, or until so many beats came round; finds the messages. */
const beating = (beats?: number) => async (run: Run) => {
  if (beats !== undefined) {
    await run.logged(/connection ok/, beats);
    await run.logged(/set alarm for/, beats + 1);
    run.signal('SIGTERM');
  }
  await run.over();
  return peerOf(run).messages(run.pid());
};
const ok = (id: string, args: Scenario['args'], manner: Manner): Scenario => ({
  id,
  args,
  env: BEATS,
  prepare: withPeer(manner),
  drive: beating(2),
  withinMs: CLOSE,
});
const down = (id: string, args: Scenario['args'], manner: Manner, differs: Scenario['differs'] = {}): Scenario => ({
  id,
  differs,
  args,
  env: { ...BEATS, AUTOSSH_POLL: '14', AUTOSSH_MAXSTART: '2' },
  prepare: withPeer(manner),
  drive: beating(),
  withinMs: CLOSE,
});

export const HEARTBEAT: readonly Scenario[] = [
  ok('loop: beats', loop, 'loop'),
  ok('echo: beats', echo, 'echo'),
  { ...ok('loop: no message', loop, 'loop'), env: { AUTOSSH_FIRST_POLL: '1', AUTOSSH_POLL: '20' } },
  {
    ...ok('AUTOSSH_FIRST_POLL before the first beat only', loop, 'loop'),
    env: { AUTOSSH_FIRST_POLL: '3', AUTOSSH_POLL: '20' },
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
    env: { AUTOSSH_FIRST_POLL: '1', AUTOSSH_POLL: '30' },
    prepare: withPeer('silent'),
    drive: async (run) => {
      await run.watching(1);
      await peerOf(run).hasGuest();
      run.signal('SIGTERM');
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
    env: { AUTOSSH_POLL: '20' },
    prepare: withPeer('loop'),
    drive: async (run) => {
      await run.watching(1);
      run.signal('SIGHUP');
      await run.logged(/set alarm for/, 2);
      return beating(1)(run);
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
