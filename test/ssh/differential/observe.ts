import type { Start } from '../../support/fake-ssh.ts';
import type { Observation, Place } from './scenario.ts';

/** What a run left behind, as it came. */
export type Raw = {
  readonly place: Place;
  /** The directory around `work`. */
  readonly dir: string;
  readonly program: string;
  /** Pids of autossh: one, or two with -f. */
  readonly pids: readonly number[];
  readonly goesToBackground: boolean;
  readonly exit: number | string;
  readonly starts: readonly Start[];
  readonly stdout: string;
  readonly stderr: string;
  readonly logFile: string | null;
  readonly syslog: string;
  readonly left: readonly string[];
  readonly seen: unknown;
};

const ON_STDERR = /^autossh\[(\d+)\]: (.*)$/;
const IN_FILE = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d autossh\[(\d+)\]: (.*)$/;
const IN_SYSLOG = /^<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d autossh(?:\[(\d+)\])?: (.*)$/;

/** A number that its neighbours do not call a time, a status or a count: a pid may have been 600, too. */
const MAYBE_A_PID = /(?<!\d|(?:status|count|of max|tries =|signal|grace time|returning|timeouts to) )\d+(?!\d| secs)/g;

/** Makes a run comparable: what differs from run to run by nature is named, everything else stays. */
export const observe = (raw: Raw): Observation => {
  const { place } = raw;
  const names = new Map<number, string>(raw.pids.map((pid) => [pid, 'AUTOSSH']));
  const text = `${raw.stderr}\n${raw.logFile ?? ''}\n${raw.syslog}`;
  const children = [...text.matchAll(/ssh child pid is (\d+)/g)].map(([, pid]) => Number(pid));
  for (const [index, pid] of [...new Set([...children, ...raw.starts.map(({ pid }) => pid)])].entries())
    names.set(pid, `SSH${index + 1}`);
  // A background that ended before its pid could be seen.
  const unknown = raw.goesToBackground ? 'AUTOSSH' : 'SOMEBODY';
  const who = (pid: string | undefined) => (pid === undefined ? 'autossh' : (names.get(Number(pid)) ?? unknown));
  const ports = new Map([
    [`${place.port}`, 'PORT'],
    [`${place.port + 1}`, 'PORT+1'],
    [`${place.echoPort}`, 'ECHO'],
  ]);
  const withoutPlaces = (line: string) =>
    line
      .replaceAll(/\/[^\s=:]*\/autossh-\w{6}\//g, 'PRIVATE/')
      .replaceAll(place.work, 'WORK')
      .replaceAll(raw.dir, 'DIR')
      .replaceAll(raw.program, 'autossh')
      .replaceAll(/(PRIVATE\/out:127\.0\.0\.1:|loop through port )\d+/g, '$1CHOSEN')
      .replaceAll(/\d+/g, (number) => ports.get(number) ?? number);
  const masked = (line: string) =>
    withoutPlaces(line.replaceAll(MAYBE_A_PID, (number) => names.get(Number(number)) ?? number)).replaceAll(
      /(autossh AUTOSSH) \d+/g,
      '$1 RANDOM',
    );

  const log: string[] = [];
  const stderr: string[] = [];
  for (const line of lines(raw.stderr.replaceAll(BAD_ECHO, onOneLine))) {
    const [, pid, said] = ON_STDERR.exec(line) ?? [];
    if (said === undefined) stderr.push(masked(line));
    else log.push(`${who(pid)}: ${masked(said)}`);
  }
  for (const line of lines(raw.logFile ?? '')) {
    const [, pid, said] = IN_FILE.exec(line) ?? [];
    log.push(said === undefined ? `NOT A LOG LINE: ${masked(line)}` : `${who(pid)}: ${masked(said)}`);
  }
  return {
    exit: raw.exit,
    starts: raw.starts.map(({ argv }) => argv.map(withoutPlaces)),
    log: inOrder(log),
    stderr,
    stdout: lines(raw.stdout).map(masked),
    syslog: inOrder(
      lines(raw.syslog).map((line) => {
        const [, priority, pid, said] = IN_SYSLOG.exec(line) ?? [];
        return said === undefined ? `NOT A LOG LINE: ${masked(line)}` : `<${priority}> ${who(pid)}: ${masked(said)}`;
      }),
    ),
    left: raw.left.map(masked),
    seen: raw.seen === undefined ? null : (JSON.parse(masked(JSON.stringify(raw.seen))) as unknown),
  };
};

/** The one message of 1.4g that has ends of line in it. */
const BAD_ECHO = /not what I sent: "[^"]*" : "[^"]*"/g;
const onOneLine = (text: string): string => text.replaceAll('\r', '\\r').replaceAll('\n', '\\n');

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

/**
 * The child of 1.4g logs its line beside its parent, which goes on meanwhile: where it stands among the parent's is chance. Here
 * it stands behind the parent's "starting ssh".
 */
const inOrder = (log: readonly string[]): string[] => {
  const isChild = (line: string) => / execing /.test(line);
  const children = log.filter(isChild);
  return log
    .filter((line) => !isChild(line))
    .flatMap((line) => (/starting ssh \(count/.test(line) ? [line, ...children.splice(0, 1)] : [line]))
    .concat(children);
};
