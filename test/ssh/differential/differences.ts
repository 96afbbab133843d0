import { readFileSync } from 'node:fs';
import { USAGE } from '../../../src/supervisor/usage.ts';
import type { Observation } from './scenario.ts';

/** Where we deliberately do otherwise than autossh 1.4g, and why. docs/autossh.md says the same to its users. */
export const DIFFERENCES = {
  'version-text': 'A script that looks for "autossh 1.4g" finds it; a person sees whose program it really is.',
  'usage-text': 'The usage describes this program: the automatic heartbeat is in it.',
  'automatic-heartbeat':
    'Without -M, 1.4g shows its usage; a heartbeat that needs no port of its own serves those who forget one, and ten clients of one server.',
  'errors-on-stderr':
    '1.4g tells only syslog why it does not start; the words are the same, what was expected follows, and stderr has them too.',
  'notes-in-the-log':
    '1.4g logs that the lifetime shortens the poll time before its log is open, where nobody finds it.',
  'words-keep-their-order':
    "1.4g lets getopt sort all words, options first. Those of a remote command change places, lose their -f and are refused where ssh has no such option: `host tail -f log` becomes autossh's -f.",
  'upstream-not-debian':
    "Debian patches 1.4g: -M wins over AUTOSSH_PORT, because its wrapper sets that variable, and the monitor's forwards always come first. Ours does what the author's manual says: AUTOSSH_PORT wins, and the forwards stand where -M stood.",
  'option-arguments-kept':
    "1.4g drops an option's argument that is -f, begins with -M or is empty, and ssh takes the next word for it.",
  'monitor-in-a-bundle': '1.4g understands `-NM 0` but passes it on to ssh, where M is another option and 0 the host.',
  'newer-options': '-B and the argument of -J came to ssh after 1.4g was written.',
  'clean-end-restarts':
    '`ssh -N` ends with 0 only when somebody ended it by SIGTERM, after which the autossh article promises a restart; 1.4g quits.',
  'stubborn-ssh':
    '1.4g waits for ever for an ssh that ignores SIGTERM or is stopped; ours kills it after 5 s and says so.',
  'missing-ssh':
    '1.4g says that it starts ssh, and forks a child that sends SIGTERM to its parent; one error line, before anything is started, says it all.',
  'unreadable-key':
    'With no key but one that it may not read, 1.4g starts an ssh that cannot use it, under -f again and again; ours says so and starts nothing.',
  'empty-path': 'With AUTOSSH_PATH="", 1.4g runs the first ssh argument as a program.',
  'sigquit-ends-ssh': 'SIGQUIT kills 1.4g before it can end its ssh and remove its pid file.',
  'signals-while-waiting': 'SIGHUP, SIGUSR1 or SIGUSR2 during a pause between two starts kills 1.4g.',
  'signal-during-a-beat':
    'A signal that comes during a heartbeat is to 1.4g a heartbeat that failed; ours does what the signal asks for.',
  'background-failures-reported':
    'With -f, 1.4g says success and then fails in the background; ours fails in front of the user.',
  'monitor-port-numbers': '1.4g takes 0x4e20 for a port when it starts, and dies of it at the first heartbeat.',
  'monitor-port-taken':
    'When the monitor port is taken on the server, 1.4g restarts a working tunnel at every poll, for ever; ours says so and uses a port that the server chooses.',
  'one-line-per-message':
    '1.4g logs an echo that does not match as it came, ends of line and all, so that a stranger writes into the log.',
  'pid-in-syslog': "1.4g's child says in syslog that it becomes ssh; ours is ssh at once, so autossh says it.",
  'no-look-at-a-stop':
    'When ssh is stopped, 1.4g looks after it, finds it alive and logs so; three lines for debugging that change nothing.',
  'own-agent': 'The autossh article has autossh start an ssh-agent where none runs; 1.4g does not.',
} as const;

export type DifferenceId = keyof typeof DIFFERENCES;

type Turn = (original: Observation) => Observation;

/** Our version, as the build has it. */
const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const versionText: Turn = (original) => ({
  ...original,
  stdout: [`autossh 1.4g (autossh-operator ${version})`],
});

/** 1.4g's first line is getopt's, where there is one. */
export const usageText: Turn = (original) => ({
  ...original,
  stderr: [...original.stderr.filter((line) => / -- '/.test(line)), ...USAGE.split('\n').filter(Boolean)],
});

/** A complaint that 1.4g brings where it has no log yet: on stderr, with what was expected. */
export const refused =
  (words: string): Turn =>
  (original) => ({ ...original, stderr: [`autossh: ${words}`] });

/** A complaint that is 1.4g's last line in the log: what was expected follows, and where the log is a file stderr has it too. */
export const refusedInLog =
  (expected: string): Turn =>
  (original) => {
    const [said = '', ...before] = [...original.log].reverse();
    return { ...original, log: [...before.reverse(), `${said}${expected}`] };
  };
export const alsoOnStderr: Turn = (original) => ({
  ...original,
  stderr: [`autossh: ${(original.log.at(-1) ?? '').replace(/^\w+: /, '')}`],
});

export const withStarts =
  (...starts: string[][]): Turn =>
  (original) => ({ ...original, starts });

/** Several turns in one. */
export const all =
  (...turns: Turn[]): Turn =>
  (original) =>
    turns.reduce((turned, turn) => turn(turned), original);

/** Replaces the lines of the log that follow each other from the first that matches `from`, so many of them. */
export const logFrom =
  (from: RegExp, count: number, ...lines: string[]): Turn =>
  (original) => {
    const at = original.log.findIndex((line) => from.test(line));
    return at === -1 ? original : { ...original, log: original.log.toSpliced(at, count, ...lines) };
  };
