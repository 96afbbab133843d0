/** What one AUTOSSH_* variable may hold in resident mode, and what it means there. */
type ResidentVariable = { readonly pattern: string; readonly expected: string; readonly help: string };

const SECONDS = '^[0-9]{1,7}$';

/**
 * The closed list of AUTOSSH_* that a sidecar, a gateway or `run -f` takes, from spec.env, spec.envFrom or the mounted ConfigMap.
 * Nothing else ever reaches the supervisor from there; so nobody who can write a ConfigMap can set NODE_OPTIONS or LD_PRELOAD beside
 * the key.
 */
export const RESIDENT_ENV = {
  AUTOSSH_POLL: {
    pattern: '^0{0,6}[1-9][0-9]{0,3}$',
    expected: 'a whole number of seconds, 1-9999',
    help: 'Seconds between heartbeats, where heartbeat.periodSeconds is not set.',
  },
  AUTOSSH_FIRST_POLL: {
    pattern: SECONDS,
    expected: 'a whole number of seconds',
    help: 'Seconds from the connection to the second heartbeat; the first is always at once. Default: as AUTOSSH_POLL.',
  },
  AUTOSSH_GATETIME: {
    pattern: SECONDS,
    expected: 'a whole number of seconds',
    help: 'Seconds a connection must live to count as proven: its end is then answered by a retry at once. Default: 30.',
  },
  AUTOSSH_MAXLIFETIME: {
    pattern: SECONDS,
    expected: 'a whole number of seconds, 0 for no limit',
    help: 'Seconds after which a connection is replaced by a fresh one. Default: 0, never.',
  },
  AUTOSSH_MESSAGE: {
    pattern: '^[ -~]{0,64}$',
    expected: 'at most 64 printable ASCII characters',
    help: 'Text sent with each heartbeat. Default: none.',
  },
  AUTOSSH_LOGLEVEL: {
    pattern: '^[0-7]$',
    expected: 'a level of syslog, 0-7',
    help: 'Least urgent level that is logged, as syslog counts: 3 errors, 6 information, 7 debugging. Default: 6.',
  },
  AUTOSSH_DEBUG: {
    pattern: '^[ -~]{0,64}$',
    expected: 'any printable text, also none',
    help: 'Set, to whatever: log everything, as AUTOSSH_LOGLEVEL=7.',
  },
} as const satisfies Record<string, ResidentVariable>;

export type ResidentEnvName = keyof typeof RESIDENT_ENV;
export const RESIDENT_ENV_NAMES = Object.keys(RESIDENT_ENV) as ResidentEnvName[];
export type ResidentEnv = Readonly<Partial<Record<ResidentEnvName, string>>>;

/** Those of the closed list, whatever else is there. */
export const pickResidentEnv = (all: Readonly<Record<string, string | undefined>>): ResidentEnv =>
  Object.fromEntries(
    RESIDENT_ENV_NAMES.flatMap((name) => {
      const value = all[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );

/** Why a value is refused, or null. The value is not echoed: it may have come from a Secret. */
export const residentEnvProblem = (name: ResidentEnvName, value: string): string | null => {
  const { pattern, expected } = RESIDENT_ENV[name];
  return new RegExp(pattern).test(value)
    ? null
    : `${name}: expected ${expected}; got ${value.length} characters that are something else`;
};
