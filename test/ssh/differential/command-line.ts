import { all, usageText, versionText, withStarts } from './differences.ts';
import type { Scenario } from './scenario.ts';

/** How the command line is understood: seen in what ssh is given. ssh ends at once, so most of these take half a second. */
const ONCE = { ssh: ['exit 3'] } as const;
/** The forwards of a monitor with fixed ports. */
const LOOP = ['-L', 'PORT:127.0.0.1:PORT', '-R', 'PORT:127.0.0.1:PORT+1'];
const same = (id: string, ...args: string[]): Scenario => ({ id, args, ...ONCE });

export const COMMAND_LINE: readonly Scenario[] = [
  { id: '-V', args: ['-V'], differs: { 'version-text': versionText } },
  { id: '-V after other options', args: ['-M', '0', '-NV', 'host'], differs: { 'version-text': versionText } },
  { id: 'no arguments', args: [], differs: { 'usage-text': usageText } },
  { id: 'no host', args: ['-M', '0'], differs: { 'usage-text': usageText } },
  { id: 'unknown flag', args: ['-M', '0', '-Z', 'host'], differs: { 'usage-text': usageText } },
  { id: 'option without its argument', args: ['-M', '0', 'host', '-L'], differs: { 'usage-text': usageText } },
  {
    id: 'no monitor port',
    args: ['-S', 'none', 'host'],
    ...ONCE,
    differs: {
      'automatic-heartbeat': (original) => ({
        ...original,
        stderr: [],
        starts: [['-S', 'none', 'host']],
        log: [
          'AUTOSSH: heartbeat off: the command line names a control socket of its own; -M port has one of autossh',
          ...LINES_OF_ONE_START,
        ],
      }),
    },
  },
  {
    id: '-M auto',
    args: ['-M', 'auto', '-S', 'none', 'host'],
    ...ONCE,
    differs: {
      'automatic-heartbeat': (original) => ({
        ...original,
        starts: [['-S', 'none', 'host']],
        log: [
          'AUTOSSH: heartbeat off: the command line names a control socket of its own; -M port has one of autossh',
          ...LINES_OF_ONE_START,
        ],
      }),
    },
  },
  same('-M 0', '-M', '0', 'host'),
  same('-M0', '-M0', 'host'),
  { id: '-M port', args: ({ port }) => ['-M', `${port}`, '-N', '-L', '1:localhost:2', 'user@host'], ...ONCE },
  {
    id: '-M port after other options',
    args: ({ port }) => ['-N', '-M', `${port}`, '-v', 'host'],
    ...ONCE,
    differs: { 'upstream-not-debian': withStarts(['-N', ...LOOP, '-v', 'host']) },
  },
  { id: '-Mport', args: ({ port }) => [`-M${port}`, '-N', 'host'], ...ONCE },
  { id: '-M port:echo_port', args: ({ port, echoPort }) => ['-M', `${port}:${echoPort}`, '-N', 'host'], ...ONCE },
  {
    id: '-M after the host',
    args: ({ port }) => ['host', '-N', '-M', `${port}`],
    ...ONCE,
    differs: { 'upstream-not-debian': withStarts(['host', '-N', ...LOOP]) },
  },
  { id: '-M twice', args: ({ port }) => ['-M', '0', '-N', '-M', `${port}`, 'host'], ...ONCE },
  { id: '-M port, then -M 0', args: ({ port }) => ['-M', `${port}`, '-N', '-M', '0', 'host'], ...ONCE },
  same('every flag of ssh in bundles', '-M', '0', '-1246aACgGkKnNqsTtvXxyY', 'host'),
  same(
    'every option of ssh with an argument',
    ...['-M', '0', '-b', '::1', '-c', 'aes', '-D', '1', '-e', '^', '-E', 'log', '-F', 'cfg', '-I', 'lib', '-i', 'key'],
    ...['-L', '1:h:2', '-l', 'user', '-m', 'mac', '-O', 'check', '-o', 'A=B', '-p', '22', '-Q', 'key', '-R', '3:h:4'],
    ...['-S', 'ctl', '-W', 'h:1', '-w', '0:0', 'host'],
  ),
  same(
    'arguments stuck to their option',
    '-M',
    '0',
    '-lfred',
    '-ifile',
    '-L8080:f:80',
    '-oForwardX11=no',
    '-p2222',
    'host',
  ),
  same('an argument at the end of a bundle', '-M', '0', '-NTLf:1:h:2', '-vNo', 'Fff=f', 'host'),
  {
    id: 'options after the host',
    args: ['-M', '0', 'host', '-N', '-L', '1:h:2', '-v'],
    ...ONCE,
    differs: { 'words-keep-their-order': withStarts(['host', '-N', '-L', '1:h:2', '-v']) },
  },
  same('remote command', '-M', '0', 'host', 'ls', '/tmp'),
  same('--', '-M', '0', '-N', '--', 'host', 'echo', 'x'),
  same('a second --', '-M', '0', 'host', '--', 'cmd', '--', '-x'),
  same('the host is -', '-M', '0', '-N', '-'),
  same('empty words', '-M', '0', '', '-N', 'host', ''),
  {
    id: 'remote command with options',
    args: ['-M', '0', 'host', 'ls', '-la'],
    ...ONCE,
    differs: { 'words-keep-their-order': withStarts(['host', 'ls', '-la']) },
  },
  {
    id: 'remote command with -f after --',
    args: ['-M', '0', '--', 'host', 'tail', '-f', 'log'],
    ...ONCE,
    differs: { 'words-keep-their-order': withStarts(['host', 'tail', '-f', 'log']) },
  },
  {
    id: 'remote command with an option that ssh does not have',
    args: ['-M', '0', 'host', 'ls', '-Z'],
    ...ONCE,
    differs: {
      'words-keep-their-order': (original) => ({
        ...original,
        stderr: [],
        starts: [['host', 'ls', '-Z']],
        log: ['AUTOSSH: port set to 0, monitoring disabled', ...LINES_OF_ONE_START],
      }),
    },
  },
  {
    id: 'arguments that look like autossh options',
    args: ['-M', '0', '-l', '-f', '-o', '-M', 'host'],
    ...ONCE,
    differs: { 'option-arguments-kept': withStarts(['-l', '-f', '-o', '-M', 'host']) },
  },
  {
    id: 'an empty argument of an option',
    args: ['-M', '0', '-l', '', 'host'],
    ...ONCE,
    differs: { 'option-arguments-kept': withStarts(['-l', '', 'host']) },
  },
  {
    id: '-M at the end of a bundle',
    args: ['-NM', '0', 'host'],
    ...ONCE,
    differs: { 'monitor-in-a-bundle': withStarts(['-N', 'host']) },
  },
  {
    id: '-J with its argument',
    args: ['-M', '0', '-J', 'jump', '-N', 'host'],
    ...ONCE,
    differs: { 'newer-options': withStarts(['-J', 'jump', '-N', 'host']) },
  },
  {
    id: '-B',
    args: ['-M', '0', '-B', 'lo', 'host'],
    ...ONCE,
    differs: {
      'newer-options': all(withStarts(['-B', 'lo', 'host']), (original) => ({
        ...original,
        stderr: [],
        log: ['AUTOSSH: port set to 0, monitoring disabled', ...LINES_OF_ONE_START],
      })),
    },
  },
  { id: 'AUTOSSH_PORT', args: ['-N', 'host'], env: ({ port }) => ({ AUTOSSH_PORT: `${port}` }), ...ONCE },
  {
    id: 'AUTOSSH_PORT wins over -M',
    args: ['-v', '-M', '1', '-N', 'host'],
    env: ({ port }) => ({ AUTOSSH_PORT: `${port}` }),
    ...ONCE,
    differs: { 'upstream-not-debian': withStarts([...LOOP, '-v', '-N', 'host']) },
  },
  {
    id: 'AUTOSSH_PORT with an echo port',
    args: ['-N', 'host'],
    env: ({ port, echoPort }) => ({ AUTOSSH_PORT: `${port}:${echoPort}` }),
    ...ONCE,
  },
  {
    id: 'AUTOSSH_PORT=0 wins over -M',
    args: ({ port }) => ['-M', `${port}`, 'host'],
    env: { AUTOSSH_PORT: '0' },
    ...ONCE,
    differs: {
      'upstream-not-debian': all(withStarts(['host']), (original) => ({
        ...original,
        log: ['AUTOSSH: port set to 0, monitoring disabled', ...original.log],
      })),
    },
  },
  { id: 'an empty AUTOSSH_PORT counts as none', args: ['-M', '0', 'host'], env: { AUTOSSH_PORT: '' }, ...ONCE },
  {
    id: 'the environment reaches ssh',
    args: ['-M', '0', 'host'],
    env: { AUTOSSH_MESSAGE: 'hello', OTHER: 'with = and\nline' },
    drive: async (run) => {
      await run.watching(1);
      run.signal('SIGTERM');
      const { env, signals, cwd } = run.start(1);
      return { env: Object.entries(env).sort(), signals, cwd };
    },
  },
];

/** What is logged about an ssh that ends with 3 at its first start. */
const LINES_OF_ONE_START = [
  'AUTOSSH: checking for grace period, tries = 0',
  'AUTOSSH: starting ssh (count 1)',
  'SSH1: child of AUTOSSH execing DIR/ssh',
  'AUTOSSH: ssh child pid is SSH1',
  'AUTOSSH: check on child SSH1',
  'AUTOSSH: clear alarm timer (0 secs left)',
  'AUTOSSH: set alarm for 600 secs',
  'AUTOSSH: check on child SSH1',
  'AUTOSSH: ssh exited prematurely with status 3; autossh exiting',
  'AUTOSSH: expired child, returning 3',
  'AUTOSSH: clear alarm timer (600 secs left)',
];
