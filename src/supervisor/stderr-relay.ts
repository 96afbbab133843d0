import type { Sink } from '../telemetry/sink.ts';

/** ssh's stderr on its way to ours. */
export type StderrRelay = {
  readonly push: (chunk: Uint8Array) => void;
  /** The next `lines` messages about channels and forwards come from our own heartbeat and are not shown. */
  readonly expectNoise: (lines: number) => void;
  /** Nor are so many more, which a probe may cause, until it is over (and what it caused has come): then call the result. */
  readonly muffle: (lines: number) => () => void;
};

/** How late a message can be whose cause is over: ssh writes it at once, but we may read it after the answer. */
const LATE_MS = 1_000;

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
  const muffled = new Set<{ left: number }>();
  const isExpected = (): boolean => {
    if (noise > 0) return noise-- > 0;
    for (const one of muffled) if (one.left > 0) return one.left-- > 0;
    return false;
  };
  return {
    push: (chunk) => {
      if (noise === 0 && muffled.size === 0) return sink.write(chunk);
      const lines = Buffer.from(chunk)
        .toString('latin1')
        .split(/(?<=\n)/);
      const kept = lines.filter((line) => !NOISE.test(line) || !isExpected());
      if (kept.length > 0) sink.write(Buffer.from(kept.join(''), 'latin1'));
    },
    expectNoise: (lines) => {
      // What was expected before may still be on its way; 0 says that it came, or will not.
      noise = lines === 0 ? 0 : Math.max(noise, lines);
    },
    muffle: (lines) => {
      const one = { left: lines };
      muffled.add(one);
      return () => void setTimeout(() => muffled.delete(one), LATE_MS).unref();
    },
  };
};
