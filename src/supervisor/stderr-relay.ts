import type { Sink } from '../telemetry/sink.ts';

/** ssh's stderr on its way to ours. */
export type StderrRelay = {
  readonly push: (chunk: Uint8Array) => void;
  /** The next `lines` messages about channels and forwards come from our own heartbeat and are not shown. */
  readonly expectNoise: (lines: number) => void;
};

/** What ssh prints when the server refuses something that the heartbeat asked for. */
const NOISE =
  /^(?:channel \d+: open failed: |mux_confirm_remote_forward: |mux_client_forward: |muxclient: |(?:Warning|Error): remote port forwarding failed for listen port 0\b|Allocated port \d+ for remote forward to \S*autossh-)/;

/** Whether a line can come from our own heartbeat; such a line never tells why ssh ended. */
export const isNoise = (line: string): boolean => NOISE.test(line);

/**
 * Passes ssh's stderr on, byte for byte, but for the lines that our own heartbeat causes. ssh writes each of its messages in one
 * piece, so looking at whole pieces is enough; prompts without an end of line pass at once.
 */
export const createStderrRelay = (sink: Sink): StderrRelay => {
  let noise = 0;
  return {
    push: (chunk) => {
      if (noise === 0) return sink.write(chunk);
      const lines = Buffer.from(chunk)
        .toString('latin1')
        .split(/(?<=\n)/);
      const kept = lines.filter((line) => {
        if (noise === 0 || !NOISE.test(line)) return true;
        noise--;
        return false;
      });
      if (kept.length > 0) sink.write(Buffer.from(kept.join(''), 'latin1'));
    },
    expectNoise: (lines) => {
      // What was expected before may still be on its way; 0 says that it came, or will not.
      noise = lines === 0 ? 0 : Math.max(noise, lines);
    },
  };
};
