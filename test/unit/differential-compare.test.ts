import { describe, expect, it } from 'vitest';
import { compare } from '../ssh/differential/compare.ts';
import { observe } from '../ssh/differential/observe.ts';
import type { Outcome } from '../ssh/differential/run.ts';
import type { Observation, Place, Scenario } from '../ssh/differential/scenario.ts';

/** The differential test itself: it must fail where it should. */
const observed: Observation = {
  exit: 1,
  starts: [['-N', 'host']],
  log: ['AUTOSSH: clear alarm timer (600 secs left)', 'AUTOSSH: signalled to exit'],
  stderr: [],
  stdout: [],
  syslog: [],
  left: [],
  seen: null,
};
const outcome = (change: Partial<Observation> = {}, times: number[] = [1000], haltedMs = 0): Outcome => ({
  ...{ observed: { ...observed, ...change }, times, haltedMs },
});
const scenario: Scenario = { id: 'x', args: [] };
const named: Scenario = { ...scenario, differs: { 'version-text': (original) => ({ ...original, exit: 0 }) } };

describe('compare', () => {
  it('is content with the same, and with a second more or less on the alarm clock', () => {
    expect(compare(scenario, outcome(), outcome())).toEqual([]);
    const later = ['AUTOSSH: clear alarm timer (598 secs left)', 'AUTOSSH: signalled to exit'];
    expect(compare(scenario, outcome(), outcome({ log: later }))).toEqual([]);
  });

  it.each<[string, Partial<Observation>]>([
    ['exit code', { exit: 0 }],
    ['arguments', { starts: [['host', '-N']] }],
    ['number of starts', { starts: [...observed.starts, ...observed.starts] }],
    ['a log line more', { log: [...observed.log, 'AUTOSSH: hello'] }],
    ['the order of log lines', { log: [...observed.log].reverse() }],
    ['the alarm clock', { log: ['AUTOSSH: clear alarm timer (580 secs left)', 'AUTOSSH: signalled to exit'] }],
    ['what is left behind', { left: ['pid'] }],
  ])('finds a difference in %s', (_what, change) => {
    expect(compare(scenario, outcome(), outcome(change))).toHaveLength(1);
  });

  it('finds times that differ, where they are to be compared', () => {
    const slow = outcome({}, [9000]);
    expect(compare(scenario, outcome(), slow)).toEqual([]);
    expect(compare({ ...scenario, withinMs: 500 }, outcome(), slow)).toHaveLength(1);
    expect(compare({ ...scenario, withinMs: 500 }, outcome({}, [1000, 1000]), outcome())).toHaveLength(1);
  });

  it('allows for what the machine stood still', () => {
    const late = ['AUTOSSH: clear alarm timer (580 secs left)', 'AUTOSSH: signalled to exit'];
    expect(compare(scenario, outcome(), outcome({ log: late }, [1000], 15_000))).toEqual([]);
    const timed = { ...scenario, withinMs: 500 };
    expect(compare(timed, outcome({}, [9000], 9000), outcome())).toEqual([]);
    expect(compare(timed, outcome({}, [9000], 5000), outcome())).toHaveLength(1);
  });

  it('lets a named difference pass, and nothing beside it', () => {
    expect(compare(named, outcome(), outcome({ exit: 0 }))).toEqual([]);
    expect(compare(named, outcome(), outcome({ exit: 0, left: ['pid'] }))).toHaveLength(1);
  });

  it('finds that a named difference is gone', () => {
    // Ours has become like the original …
    expect(compare(named, outcome(), outcome())).toHaveLength(1);
    // … or the original was always like ours.
    expect(compare(named, outcome({ exit: 0 }), outcome({ exit: 0 }))).toHaveLength(1);
  });
});

describe('observe', () => {
  it('names pids and leaves other numbers alone, also where a pid is a likely number', () => {
    const { log } = observe({
      ...{
        place: { port: 20_000, echoPort: 20_002, work: '/w' } as Place,
        dir: '/d',
        program: '/p',
        goesToBackground: false,
      },
      ...{ exit: 1, starts: [], stdout: '', logFile: null, syslog: '', left: [], seen: undefined },
      pids: [600],
      stderr: [
        'autossh[600]: starting ssh (count 600)',
        'autossh[600]: ssh child pid is 20',
        'autossh[20]: child of 600 execing /bin/ssh',
        'autossh[600]: set alarm for 600 secs',
        'autossh[600]: ssh exited with status 20; autossh exiting',
      ].join('\n'),
    });
    expect(log).toEqual([
      'AUTOSSH: starting ssh (count 600)',
      // The child's line stands where it always stands: behind the start.
      'SSH1: child of AUTOSSH execing /bin/ssh',
      'AUTOSSH: ssh child pid is SSH1',
      'AUTOSSH: set alarm for 600 secs',
      'AUTOSSH: ssh exited with status 20; autossh exiting',
    ]);
  });
});
