import type { LogLine } from '../tunnel/log-line.ts';
import type { ControlSocket } from './control-socket.ts';
import type { PatientOptions } from './heartbeat-patient.ts';
import type { Refusals } from './refusals.ts';

/** What the heartbeats over ssh's control socket have in common. Settings are read at each beat, so they may change under way. */
export type ChannelOptions = {
  readonly control: ControlSocket;
  /** Text sent with each beat. */
  readonly message: string;
  /** For each step of a beat, ms. */
  readonly timeoutMs: number;
  readonly log: (line: LogLine) => void;
  /** Called when ssh is about to print this many lines on stderr that come from the heartbeat and not from the user's traffic. */
  readonly expectNoise: (lines: number) => void;
};

/** For heartbeats that lead further than the server. */
export type FarOptions = ChannelOptions & {
  readonly refusals: Refusals;
  readonly patience: PatientOptions;
  /** As expectNoise, for what goes on beside the beat and may last longer: until its result is called. */
  readonly muffle: (lines: number) => () => void;
};
