import type { Step } from '../../support/fake-ssh.ts';
import type { NetPath } from '../../support/netns.ts';
import type { Sshd } from '../../support/sshd.ts';
import type { DifferenceId } from './differences.ts';

/**
 * What can be seen of one run from outside, comparable: pids are named (AUTOSSH, SSH1, SSH2 …), ports are PORT, PORT+1 and ECHO,
 * the run's directory is DIR.
 */
export type Observation = {
  /** Exit code, or the signal's name. */
  readonly exit: number | string;
  /** ssh's arguments at each start. */
  readonly starts: ReadonlyArray<readonly string[]>;
  /** `who: text`, in order, from the log file if there is one, else from stderr. */
  readonly log: readonly string[];
  /** What else came there. */
  readonly stderr: readonly string[];
  readonly stdout: readonly string[];
  /** Only where the scenario has a syslog: `<priority> who: text`. */
  readonly syslog: readonly string[];
  /** Processes and files that are still there when it has ended. */
  readonly left: readonly string[];
  /** What `drive` found. */
  readonly seen: unknown;
};

/** Where a run takes place. */
export type Place = {
  /** Working directory, empty at the start, and everything left in it counts. */
  readonly work: string;
  /** Free, and so is port + 1. */
  readonly port: number;
  readonly echoPort: number;
  /** Of the run too, but nothing in it counts. */
  readonly outside: string;
} & Surroundings;

/** What all runs share. */
export type Surroundings = {
  /** A port of 127.0.0.1 that is taken. */
  readonly takenPort: number;
  /** Two ends of a wire and an sshd at the far one; throws where scenarios `inNetwork` cannot run. */
  readonly net: () => { readonly network: NetPath; readonly sshd: Sshd };
};

/** A run under way. */
export type Run = Place & {
  /** Waits until ssh was started for the nth time and autossh has settled to watch it. */
  readonly watching: (start: number) => Promise<void>;
  /** Waits until the log has it, so many times. */
  readonly logged: (pattern: RegExp, times?: number) => Promise<void>;
  readonly log: () => string;
  readonly signal: (name: NodeJS.Signals) => void;
  readonly signalSsh: (start: number, name: NodeJS.Signals) => void;
  readonly ended: () => boolean;
  /** Waits until autossh has ended. */
  readonly over: () => Promise<void>;
  /** How often ssh was started so far. */
  readonly starts: () => number;
  /** Waits until ssh was started for the nth time, or autossh has ended. */
  readonly startedOrEnded: (start: number) => Promise<void>;
  /** Whether the first ssh had to be killed from here, `ms` from now, because autossh waited for it and nothing more. */
  readonly helpedAfter: (ms: number) => Promise<boolean>;
  /** How ssh was started, unmasked. */
  readonly start: (start: number) => { env: Readonly<Record<string, string>>; cwd: string; signals: string };
  readonly pid: () => number;
};

export type Env = Readonly<Record<string, string | undefined>>;

export type Scenario = {
  readonly id: string;
  readonly args: readonly string[] | ((at: Place) => readonly string[]);
  /** AUTOSSH_PATH and AUTOSSH_DEBUG=1 are set unless it says otherwise. */
  readonly env?: Env | ((at: Place) => Env);
  /** Default: stays at the first start. */
  readonly ssh?: readonly Step[];
  /** Runs at the client's end of the network, where the sshd can be reached. */
  readonly inNetwork?: true;
  /** May read no more than the modes of files allow, root or not. */
  readonly barred?: true;
  /** Before autossh is started; what it returns is called when all is over. */
  readonly prepare?: (at: Place) => Promise<(() => unknown) | void>;
  /** Acts while it runs. Default: SIGTERM once ssh stays; nothing where it never does. */
  readonly drive?: (run: Run) => Promise<unknown>;
  /** Gives the run a /dev/log of its own. */
  readonly syslog?: true;
  /** Compare the times between the starts of ssh, and from the first to the end, within so many ms. */
  readonly withinMs?: number;
  /** Log lines that are left out on both sides, because those of 1.4g are chance. */
  readonly ignoring?: RegExp;
  /** The deliberate differences: each turns what the original shows into what ours must show. */
  readonly differs?: Readonly<Partial<Record<DifferenceId, (original: Observation) => Observation>>>;
};
