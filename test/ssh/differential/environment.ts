import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { all, alsoOnStderr, logFrom, refused, refusedInLog, withStarts } from './differences.ts';
import type { Env, Observation, Scenario } from './scenario.ts';

/** Every AUTOSSH_* variable with good and bad values, and other things that can be missing. ssh ends at once, except where the value shows only later. */
const ARGS = ['-M', '0', 'host'];
const good = (id: string, env: Env): Scenario => ({ id, args: ARGS, env, ssh: ['exit 3'] });

/** Refused by both: 1.4g tells only syslog, for want of an open log. */
const bad = (name: string, value: string, words: string): Scenario => ({
  id: `${name}=${JSON.stringify(value.length > 20 ? `${value.length} characters` : value)}`,
  args: ARGS,
  env: { [name]: value },
  differs: { 'errors-on-stderr': refused(words) },
});
const poll = (name: string, what: string, value: string) =>
  bad(name, value, `invalid ${what} "${value}": expected a whole number of seconds, at least 1`);
const gate = (value: string) =>
  bad('AUTOSSH_GATETIME', value, `invalid gate time "${value}": expected a whole number of seconds, at least 0`);
const maxStart = (value: string) =>
  bad(
    'AUTOSSH_MAXSTART',
    value,
    `invalid max start number "${value}": expected a whole number, -1 (without end) or more`,
  );
const lifetime = (value: string) =>
  bad(
    'AUTOSSH_MAXLIFETIME',
    value,
    `invalid max lifetime "${value}": expected a whole number of seconds, 0 for no limit`,
  );
/** AUTOSSH_LOGLEVEL counts only without AUTOSSH_DEBUG. */
const level = (value: string): Scenario => ({
  ...bad('AUTOSSH_LOGLEVEL', value, `invalid log level "${value}": expected a whole number from 0 to 7`),
  env: { AUTOSSH_DEBUG: undefined, AUTOSSH_LOGLEVEL: value },
});

/** Refused by both when the log is open already. */
const badPort = (id: string, port: string, expected: string): Scenario => ({
  id,
  args: ['-M', port, '-N', 'host'],
  differs: { 'errors-on-stderr': refusedInLog(expected) },
});
const PORT_EXPECTED = ': expected a port number, 0 (monitoring off) or "auto"';
const RANGE_EXPECTED = ': expected 1 to 65534, 0 (monitoring off) or "auto"';
const PROGRAM_EXPECTED = '; expected a program that can be run (AUTOSSH_PATH)';
const ECHO_EXPECTED = ': expected a port number from 1 to 65535 after the colon';

/** A number that means the monitor port, written otherwise. */
const portAs = (id: string, write: (port: number) => string): Scenario => ({
  id,
  args: ({ port }) => ['-M', write(port), '-N', 'host'],
  ssh: ['exit 3'],
});

export const ENVIRONMENT: readonly Scenario[] = [
  ...['0', 'junk', '', '5x', '1.5'].map((value) => poll('AUTOSSH_POLL', 'poll time', value)),
  ...['0', 'junk', ''].map((value) => poll('AUTOSSH_FIRST_POLL', 'first poll time', value)),
  ...['-1', 'junk', ''].map(gate),
  ...['-2', 'junk', ''].map(maxStart),
  ...['junk', ''].map(lifetime),
  ...['8', '-1', 'junk', ''].map(level),
  bad('AUTOSSH_MESSAGE', 'm'.repeat(65), 'echo message may only be 64 bytes long; AUTOSSH_MESSAGE has 65'),
  good('AUTOSSH_MESSAGE of 64 bytes', { AUTOSSH_MESSAGE: 'm'.repeat(64) }),
  good('AUTOSSH_POLL negative is the default', { AUTOSSH_POLL: '-5' }),
  good('AUTOSSH_POLL octal', { AUTOSSH_POLL: '0144' }),
  good('AUTOSSH_POLL hexadecimal', { AUTOSSH_POLL: '0x64' }),
  good('AUTOSSH_POLL short', { AUTOSSH_POLL: '7' }),
  good('AUTOSSH_POLL just not short', { AUTOSSH_POLL: '30' }),
  good('AUTOSSH_POLL with a sign and a blank', { AUTOSSH_POLL: ' +40' }),
  good('AUTOSSH_FIRST_POLL', { AUTOSSH_POLL: '40', AUTOSSH_FIRST_POLL: '50' }),
  good('AUTOSSH_FIRST_POLL negative is the default', { AUTOSSH_POLL: '40', AUTOSSH_FIRST_POLL: '-1' }),
  good('AUTOSSH_GATETIME huge', { AUTOSSH_GATETIME: '99999999999' }),
  good('AUTOSSH_NTSERVICE means nothing here', { AUTOSSH_NTSERVICE: 'yes' }),
  good('AUTOSSH_LOGLEVEL does not count under AUTOSSH_DEBUG', { AUTOSSH_LOGLEVEL: 'junk' }),
  good('AUTOSSH_PIDFILE empty counts as none', { AUTOSSH_PIDFILE: '' }),
  good('AUTOSSH_MAXLIFETIME=0', { AUTOSSH_MAXLIFETIME: '0' }),
  good('AUTOSSH_MAXSTART=0', { AUTOSSH_MAXSTART: '0' }),
  good('AUTOSSH_MAXSTART=-1', { AUTOSSH_MAXSTART: '-1' }),
  {
    id: '-V with a bad variable',
    args: ['-V'],
    env: { AUTOSSH_POLL: 'junk' },
    differs: {
      'errors-on-stderr': refused('invalid poll time "junk": expected a whole number of seconds, at least 1'),
    },
  },
  {
    id: 'AUTOSSH_MAXLIFETIME shorter than the poll times',
    args: ARGS,
    env: { AUTOSSH_MAXLIFETIME: '100' },
    ssh: ['exit 3'],
    differs: {
      'notes-in-the-log': (original) => ({
        ...original,
        log: [
          'AUTOSSH: poll time is greater than lifetime, dropping poll time to 100',
          'AUTOSSH: first poll time is greater than lifetime, dropping first poll time to 100',
          ...original.log,
        ],
      }),
    },
  },
  {
    id: 'AUTOSSH_MAXLIFETIME negative',
    args: ARGS,
    env: { AUTOSSH_MAXLIFETIME: '-5' },
    ssh: ['exit 3'],
  },
  badPort('-M junk', 'junk', PORT_EXPECTED),
  badPort('-M with an empty port', '', PORT_EXPECTED),
  badPort('-M 8080x', '8080x', PORT_EXPECTED),
  badPort('-M 65535', '65535', RANGE_EXPECTED),
  badPort('-M -5', '-5', RANGE_EXPECTED),
  badPort('-M 8080:', '8080:', ECHO_EXPECTED),
  badPort('-M 8080:0', '8080:0', ECHO_EXPECTED),
  badPort('-M 8080:junk', '8080:junk', ECHO_EXPECTED),
  { id: '-M 0:7', args: ['-M', '0:7', 'host'], ssh: ['exit 3'] },
  portAs('port in hexadecimal', (port) => `0x${port.toString(16)}`),
  portAs('port in octal', (port) => `0${port.toString(8)}`),
  portAs('port with a sign', (port) => `+${port}`),
  portAs('port beyond 32 bits', (port) => `${port + 2 ** 32}`),
  {
    id: 'heartbeat to a port in hexadecimal',
    args: ({ port }) => ['-M', `0x${port.toString(16)}`, 'host'],
    env: { AUTOSSH_POLL: '1', AUTOSSH_MAXSTART: '1' },
    differs: {
      'monitor-port-numbers': (original) => ({
        ...original,
        exit: 0,
        log: [
          ...original.log.slice(0, -1),
          'AUTOSSH: 127.0.0.1:PORT: Connection refused',
          'AUTOSSH: port down, restarting ssh',
          'AUTOSSH: clear alarm timer (0 secs left)',
          'AUTOSSH: max start count reached; exiting',
        ],
      }),
    },
    drive: async (run) => {
      await run.over();
    },
  },
  {
    id: 'AUTOSSH_PATH that is not there',
    args: ARGS,
    env: { AUTOSSH_PATH: '/nowhere/ssh' },
    differs: { 'missing-ssh': noSsh('/nowhere/ssh: No such file or directory') },
  },
  {
    id: 'AUTOSSH_PATH that may not be run',
    args: ARGS,
    env: { AUTOSSH_PATH: '/etc/passwd' },
    differs: { 'missing-ssh': noSsh('/etc/passwd: Permission denied') },
  },
  {
    id: 'AUTOSSH_PATH that is not there, with a log file and a pid file',
    args: ARGS,
    env: { AUTOSSH_PATH: '/nowhere/ssh', AUTOSSH_LOGFILE: 'log', AUTOSSH_PIDFILE: 'pid' },
    differs: { 'missing-ssh': all(noSsh('/nowhere/ssh: No such file or directory'), alsoOnStderr) },
  },
  {
    id: 'AUTOSSH_PATH that is not there, and -f',
    args: ['-f', ...ARGS],
    env: { AUTOSSH_PATH: '/nowhere/ssh', AUTOSSH_LOGFILE: 'log' },
    drive: async (run) => run.logged(/nowhere\/ssh: No such file/),
    differs: {
      'missing-ssh': noSsh('/nowhere/ssh: No such file or directory'),
      'background-failures-reported': all(alsoOnStderr, (original) => ({ ...original, exit: 1 })),
    },
  },
  { id: 'AUTOSSH_PATH by name along PATH', args: ARGS, env: { AUTOSSH_PATH: 'false' }, ssh: ['exit 3'] },
  {
    id: 'AUTOSSH_PATH empty',
    args: ['-M', '0', 'false'],
    env: { AUTOSSH_PATH: '' },
    differs: {
      'empty-path': all(withStarts(), (original) => ({
        ...original,
        log: [],
        stderr: ['autossh: invalid path "": expected AUTOSSH_PATH to name the ssh to run, or to be unset'],
      })),
    },
  },
  {
    id: 'AUTOSSH_PIDFILE that cannot be written',
    args: ARGS,
    env: { AUTOSSH_PIDFILE: '/nowhere/pid' },
    differs: { 'errors-on-stderr': refusedInLog('; expected a file that can be written (AUTOSSH_PIDFILE)') },
  },
  {
    id: 'AUTOSSH_PIDFILE that cannot be written, with a log file',
    args: ARGS,
    env: { AUTOSSH_PIDFILE: '/nowhere/pid', AUTOSSH_LOGFILE: 'log' },
    differs: {
      'errors-on-stderr': all(refusedInLog('; expected a file that can be written (AUTOSSH_PIDFILE)'), alsoOnStderr),
    },
  },
  {
    id: 'a bad port, with a log file',
    args: ['-M', 'junk', 'host'],
    env: { AUTOSSH_LOGFILE: 'log' },
    differs: { 'errors-on-stderr': all(refusedInLog(PORT_EXPECTED), alsoOnStderr) },
  },
  {
    id: 'AUTOSSH_LOGFILE that cannot be written',
    args: ARGS,
    env: () => ({ AUTOSSH_LOGFILE: '/nowhere/log' }),
    differs: {
      'errors-on-stderr': refused(
        '/nowhere/log: No such file or directory; expected a log file that can be opened (AUTOSSH_LOGFILE)',
      ),
    },
  },
  {
    id: 'AUTOSSH_LOGFILE empty',
    args: ARGS,
    env: { AUTOSSH_LOGFILE: '' },
    differs: {
      'errors-on-stderr': refused(
        ': No such file or directory; expected a log file that can be opened (AUTOSSH_LOGFILE)',
      ),
    },
  },
  {
    id: 'a key that may not be read',
    args: ({ outside }) => ['-M', '0', '-i', join(outside, 'key'), 'host'],
    barred: true,
    prepare: async ({ outside }) => writeFileSync(join(outside, 'key'), '', { mode: 0o000 }),
    differs: {
      'unreadable-key': all(
        withStarts(),
        logFrom(
          /checking for grace period/,
          Number.POSITIVE_INFINITY,
          'AUTOSSH: DIR/key: Permission denied; expected a key that can be read',
        ),
      ),
    },
  },
  {
    id: 'a key that is not there',
    args: ({ outside }) => ['-M', '0', '-i', join(outside, 'key'), 'host'],
    ssh: ['exit 3'],
  },
  {
    id: 'the port after the monitor port is taken here',
    args: ({ takenPort }) => ['-M', `${takenPort - 1}`, 'host'],
    differs: { 'errors-on-stderr': refusedInLog('; expected the port after the monitor port free on this machine') },
  },
];

/** One line for all that 1.4g logs about a start of ssh and a child that could not become it. */
function noSsh(words: string) {
  return (original: Observation): Observation => ({
    ...logFrom(/checking for grace period/, original.log.length, `AUTOSSH: ${words}${PROGRAM_EXPECTED}`)(original),
  });
}
