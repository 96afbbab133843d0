import { logFrom } from './differences.ts';
import type { Scenario } from './scenario.ts';

/** What follows when ssh ends: by its status, its place in the row of starts, and the time it lived. */
const ARGS = ['-M', '0', 'host'];
const NO_SHELL = ['-M', '0', '-N', 'host'];
/** For two noisy processors, and because 1.4g counts in whole seconds. */
const CLOSE = 3_000;

const first = (status: string): Scenario => ({
  id: `first start: ${status}`,
  args: ARGS,
  ssh: [status as `exit ${number}`],
});
const gateZero = (status: number): Scenario => ({
  id: `first start without a gate time: exit ${status}`,
  args: ARGS,
  env: { AUTOSSH_GATETIME: '0' },
  ssh: [`exit ${status}`, 'stay'],
});
const later = (status: number): Scenario => ({
  id: `later start: exit ${status}`,
  args: ARGS,
  env: { AUTOSSH_GATETIME: '0' },
  ssh: ['exit 255', `exit ${status}`, 'stay'],
});
const beyondTheGate = (status: number): Scenario => ({
  id: `first start beyond the gate time: exit ${status}`,
  args: ARGS,
  env: { AUTOSSH_GATETIME: '1' },
  ssh: [`after 2.6 exit ${status}`, 'stay'],
});

export const SUPERVISION: readonly Scenario[] = [
  ...['exit 0', 'exit 1', 'exit 2', 'exit 3', 'exit 255'].map(first),
  { ...first('exit 0'), id: 'first start with -N: exit 0', args: NO_SHELL },
  ...[0, 1, 2, 3, 255].map(gateZero),
  ...[0, 1, 2, 3, 255].map(later),
  ...[0, 1, 255].map(beyondTheGate),
  { id: 'first start: killed by SIGKILL', args: ARGS, ssh: ['signal 9', 'stay'] },
  { id: 'first start: killed by SIGTERM', args: ARGS, ssh: ['signal 15', 'stay'] },
  {
    id: 'all kinds of ends in a row',
    args: NO_SHELL,
    env: { AUTOSSH_GATETIME: '0', AUTOSSH_LOGLEVEL: '7' },
    ssh: ['exit 1', 'exit 2', 'signal 9', 'exit 255', 'exit 7'],
  },
  {
    id: '-N that ends with 0',
    args: NO_SHELL,
    env: { AUTOSSH_GATETIME: '0', AUTOSSH_MAXSTART: '2' },
    ssh: ['exit 0'],
    differs: {
      'clean-end-restarts': (original) => ({
        ...logFrom(
          /exited with status 0/,
          3,
          'AUTOSSH: ssh exited with status 0; restarting ssh',
          'AUTOSSH: expired child, returning 1',
          'AUTOSSH: clear alarm timer (600 secs left)',
          'AUTOSSH: checking for grace period, tries = 1',
          'AUTOSSH: starting ssh (count 2 of 2)',
          'SSH2: child of AUTOSSH execing DIR/ssh',
          'AUTOSSH: ssh child pid is SSH2',
          'AUTOSSH: check on child SSH2',
          'AUTOSSH: clear alarm timer (0 secs left)',
          'AUTOSSH: set alarm for 600 secs',
          'AUTOSSH: check on child SSH2',
          'AUTOSSH: ssh exited with status 0; restarting ssh',
          'AUTOSSH: expired child, returning 1',
          'AUTOSSH: clear alarm timer (600 secs left)',
          'AUTOSSH: max start count reached; exiting',
        )(original),
        starts: [
          ['-N', 'host'],
          ['-N', 'host'],
        ],
      }),
    },
  },
  {
    id: 'AUTOSSH_MAXSTART',
    args: ARGS,
    env: { AUTOSSH_GATETIME: '0', AUTOSSH_MAXSTART: '3' },
    ssh: ['exit 255'],
    withinMs: CLOSE,
  },
  {
    id: 'grace times',
    args: ARGS,
    // Pauses of 0, 2 and 6 s, far from the 20 s of life after which there are none.
    env: { AUTOSSH_GATETIME: '0', AUTOSSH_MAXSTART: '9', AUTOSSH_POLL: '200' },
    ssh: ['exit 255'],
    withinMs: CLOSE,
  },
  {
    id: 'grace times are at most the poll time',
    args: ARGS,
    env: { AUTOSSH_GATETIME: '0', AUTOSSH_MAXSTART: '25', AUTOSSH_POLL: '1' },
    ssh: ['exit 255'],
    withinMs: CLOSE,
  },
  {
    id: 'an ssh that lived long enough sets the tries back',
    args: ARGS,
    env: { AUTOSSH_GATETIME: '0', AUTOSSH_MAXSTART: '4', AUTOSSH_POLL: '1' },
    ssh: ['exit 255', 'exit 255', 'after 11.4 exit 255', 'exit 255'],
    withinMs: CLOSE,
  },
  {
    id: 'AUTOSSH_MAXLIFETIME ends ssh',
    args: ARGS,
    env: { AUTOSSH_MAXLIFETIME: '3', AUTOSSH_POLL: '2', AUTOSSH_FIRST_POLL: '3' },
    drive: (run) => run.over(),
    withinMs: CLOSE,
  },
];
