import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AutosshSettings, DEFAULTS } from '../../src/tunnel/autossh-env.ts';
import { classicLines } from '../../src/tunnel/classic-lines.ts';
import type { LogLine } from '../../src/tunnel/log-line.ts';
import type { Exit } from '../../src/tunnel/machine.ts';
import { type AutosshPolicyOptions, autosshPolicy } from '../../src/tunnel/policy-autossh.ts';
import { GOOD_LIFE, type Life, Simulation } from '../support/simulate.ts';

type Told = {
  settings?: Partial<AutosshSettings>;
  noSession?: boolean;
  lives?: Partial<Life>[];
  tell?: (simulation: Simulation) => void;
};

/** The log of a story in virtual time, as 1.4g would write it; pids from 1001 on are ssh's, 42 is autossh's. */
const logOf = ({ settings = {}, noSession = true, lives = [], tell = () => {} }: Told): LogLine[] => {
  const options: AutosshPolicyOptions = {
    settings: { ...DEFAULTS, ...settings },
    ...{ bornAt: 0, background: false, noSession, connectDeadlineMs: null },
  };
  const simulation = new Simulation(
    autosshPolicy(options),
    lives.map((life) => ({ ...GOOD_LIFE, ...life })),
  );
  simulation.dispatch({ type: 'start' });
  tell(simulation);
  return simulation.journal.flatMap(({ before, event, after, at }) =>
    classicLines(before, event, after, { at, random: 0 }, { options, pid: 42, monitored: true }),
  );
};
const textOf = (told: Told): string[] => logOf(told).map(({ text }) => text);

const exit = (code: number | null, signal: number | null = null): Omit<Exit, 'spawnError'> => ({
  ...{ code, signal, reason: 'Unknown', detail: '' },
});
const started = (count: string, pid: number, alarm = 600) => [
  `starting ssh (count ${count})`,
  'child of 42 execing /usr/bin/ssh',
  `ssh child pid is ${pid}`,
  `check on child ${pid}`,
  'clear alarm timer (0 secs left)',
  `set alarm for ${alarm} secs`,
];
const FIRST = ['checking for grace period, tries = 0', ...started('1', 1001)];

describe('the log of 1.4g', () => {
  it('of a start', () => {
    expect(logOf({})).toEqual([
      { level: 7, text: 'checking for grace period, tries = 0' },
      { level: 6, text: 'starting ssh (count 1)' },
      { level: 7, text: 'child of 42 execing /usr/bin/ssh', pid: 1001 },
      { level: 6, text: 'ssh child pid is 1001' },
      { level: 7, text: 'check on child 1001' },
      { level: 7, text: 'clear alarm timer (0 secs left)' },
      { level: 7, text: 'set alarm for 600 secs' },
    ]);
  });

  it.each<[string, Told, string[]]>([
    [
      'an error after the gate time',
      { lives: [{ ends: { after: 100_000, how: exit(255) } }], tell: (one) => one.pass(100_000) },
      [
        ...['check on child 1001', 'ssh exited with error status 255; restarting ssh'],
        ...['expired child, returning 1', 'clear alarm timer (500 secs left)'],
        ...['checking for grace period, tries = 0', ...started('2', 1002)],
      ],
    ],
    [
      'a premature end',
      { lives: [{ ends: { after: 1000, how: exit(255) } }], tell: (one) => one.pass(1000) },
      [
        ...['check on child 1001', 'ssh exited prematurely with status 255; autossh exiting'],
        ...['expired child, returning 3', 'clear alarm timer (599 secs left)'],
      ],
    ],
    [
      'a good end',
      {
        noSession: false,
        lives: [{ ends: { after: 100_000, how: exit(0) } }],
        tell: (one) => one.pass(100_000),
      },
      [
        ...['check on child 1001', 'ssh exited with status 0; autossh exiting'],
        ...['expired child, returning 2', 'clear alarm timer (500 secs left)'],
      ],
    ],
    [
      'the status of a remote command',
      { lives: [{ ends: { after: 100_000, how: exit(3) } }], tell: (one) => one.pass(100_000) },
      [
        ...['check on child 1001', 'ssh exited with status 3; autossh exiting'],
        ...['expired child, returning 3', 'clear alarm timer (500 secs left)'],
      ],
    ],
    [
      'an ssh -N that somebody ended (a named difference)',
      { lives: [{ ends: { after: 100_000, how: exit(0) } }], tell: (one) => one.pass(100_000) },
      [
        ...['check on child 1001', 'ssh exited with status 0; restarting ssh'],
        ...['expired child, returning 1', 'clear alarm timer (500 secs left)'],
        ...['checking for grace period, tries = 0', ...started('2', 1002)],
      ],
    ],
    [
      'an ssh that was killed',
      { lives: [{ ends: { after: 100_000, how: exit(null, 9) } }], tell: (one) => one.pass(100_000) },
      [
        ...['check on child 1001', 'ssh exited on signal 9, restarting ssh'],
        ...['expired child, returning 1', 'clear alarm timer (500 secs left)'],
        ...['checking for grace period, tries = 0', ...started('2', 1002)],
      ],
    ],
    [
      'a wake: what is left of the alarm survives (the 592 of the article)',
      {
        tell: (one) => {
          one.pass(8000);
          one.dispatch({ type: 'wake' });
        },
      },
      ['check on child 1001', 'clear alarm timer (592 secs left)', 'set alarm for 592 secs'],
    ],
    [
      'a beat',
      { tell: (one) => one.pass(600_007) },
      [
        ...['received SIGALRM (end-of-life 0)', 'connection ok'],
        ...['check on child 1001', 'clear alarm timer (0 secs left)', 'set alarm for 600 secs'],
      ],
    ],
    [
      'a beat that failed',
      { lives: [{ beats: [{ takes: 1000, ok: false }] }], tell: (one) => one.pass(601_100) },
      [
        ...['received SIGALRM (end-of-life 0)', 'port down, restarting ssh', 'clear alarm timer (0 secs left)'],
        ...['checking for grace period, tries = 0', ...started('2', 1002)],
      ],
    ],
    [
      'SIGUSR1',
      {
        tell: (one) => {
          one.pass(100_000);
          one.dispatch({ type: 'restart', why: 'signal' });
          one.pass(100);
        },
      },
      [
        ...['signalled to kill and restart ssh', 'clear alarm timer (500 secs left)'],
        ...['checking for grace period, tries = 0', ...started('2', 1002)],
      ],
    ],
    [
      'SIGTERM',
      {
        tell: (one) => {
          one.pass(100_000);
          one.dispatch({ type: 'stop', signal: 15 });
          one.pass(100);
        },
      },
      ['received signal to exit (15)', 'clear alarm timer (500 secs left)'],
    ],
    [
      'SIGTERM while ssh hangs (1.4g waits for ever)',
      {
        lives: [{ onTerm: null }],
        tell: (one) => {
          one.pass(100_000);
          one.dispatch({ type: 'stop', signal: 15 });
          one.pass(6000);
        },
      },
      [
        'received signal to exit (15)',
        'ssh did not end on SIGTERM, sending SIGKILL',
        'clear alarm timer (495 secs left)',
      ],
    ],
  ])('of %s', (_about, told, lines) => expect(textOf(told)).toEqual([...FIRST, ...lines]));

  it('of grace times', () => {
    const lives = Array.from({ length: 7 }, () => ({ ends: { after: 100, how: exit(255) } }));
    const log = textOf({ settings: { gateTime: 0 }, lives, tell: (one) => one.pass(20_000) });
    expect(log.filter((line) => /grace/.test(line))).toEqual([
      ...[0, 1, 2, 3, 4, 5, 6].map((tries) => `checking for grace period, tries = ${tries}`),
      'sleeping for grace time 2 secs',
      'checking for grace period, tries = 7',
      'sleeping for grace time 8 secs',
    ]);
  });

  it('of a counted start, and of the last', () => {
    const lives = [1, 2].map(() => ({ ends: { after: 100, how: exit(255) } }));
    const log = textOf({ settings: { gateTime: 0, maxStart: 2 }, lives, tell: (one) => one.pass(1000) });
    expect(log.filter((line) => /count/.test(line))).toEqual([
      ...['starting ssh (count 1 of 2)', 'starting ssh (count 2 of 2)', 'max start count reached; exiting'],
    ]);
  });

  it('of the end of a lifetime', () => {
    const log = textOf({ settings: { maxLifetime: 60, poll: 60, firstPoll: 60 }, tell: (one) => one.pass(61_000) });
    expect(log).toContain('set alarm for 60 secs');
    expect(log).toContain('exceeded maximum time to live, shutting down');
  });

  it('of an ssh that is not there', () => {
    expect(textOf({ lives: [{ spawnError: 'No such file or directory' }] })).toEqual([
      ...FIRST.slice(0, 2),
      '/usr/bin/ssh: No such file or directory; expected a program that can be run (AUTOSSH_PATH)',
    ]);
  });

  it('counts each start once, and never names an ssh that is not there', () => {
    const life = fc.record({
      ends: fc.option(fc.record({ after: fc.nat(2e6), how: fc.constantFrom(exit(255), exit(0), exit(null, 9)) })),
      connectsAfter: fc.option(fc.nat(5000)),
    });
    const settings = fc.record({ poll: fc.integer({ min: 1, max: 700 }), gateTime: fc.constant(0) });
    fc.assert(
      fc.property(settings, fc.array(life, { maxLength: 12 }), (settings, lives) => {
        const log = textOf({ settings, lives, tell: (one) => one.pass(10_000_000) });
        const counts = log.flatMap((line) => /^starting ssh \(count (\d+)\)$/.exec(line)?.[1] ?? []);
        expect(counts).toEqual(counts.map((_, index) => `${index + 1}`));
        expect(log.join('\n')).not.toMatch(/NaN|undefined|null|Infinity|check on child 0/);
      }),
      { numRuns: 100 },
    );
  });
});
