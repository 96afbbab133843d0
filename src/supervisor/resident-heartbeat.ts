import type { JsonLog } from '../telemetry/json-log.ts';
import type { ControlSocket } from './control-socket.ts';
import type { Heartbeat } from './heartbeat.ts';
import { channelHeartbeat } from './heartbeat-channel.ts';
import { noHeartbeat } from './heartbeat-fixed.ts';
import type { ResidentConfig } from './resident-config.ts';

export type HeartbeatOptions = {
  readonly control: ControlSocket;
  readonly log: JsonLog;
  readonly expectNoise: (lines: number) => void;
};

/** The heartbeat that the configuration asks for, on one connection: its method is that of the start, its times are those in force. */
export const residentHeartbeat = (
  config: () => ResidentConfig,
  { control, log, expectNoise }: HeartbeatOptions,
): Heartbeat =>
  config().method === 'None'
    ? noHeartbeat
    : channelHeartbeat({
        control,
        get message() {
          return config().message;
        },
        get timeoutMs() {
          return config().timeoutMs;
        },
        log: ({ level, text }) => log.line(level >= 7 ? 7 : level >= 5 ? 6 : 4, text),
        expectNoise,
      });
