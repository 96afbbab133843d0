import { pino } from 'pino';
import { type LogFormat, prettyLine } from './pretty-log.ts';
import type { Sink } from './sink.ts';

export type Fields = Readonly<Record<string, string | number | boolean | null>>;
/** Levels are syslog's: 3 error, 4 warning, 6 information, 7 debugging. */
export type JsonLog = {
  line(level: 3 | 4 | 6 | 7, message: string, fields?: Fields): void;
  /** From now on, nothing less urgent than this. */
  threshold(level: number): void;
};

const PINO_LEVEL = { 3: 'error', 4: 'warn', 6: 'info', 7: 'debug' } as const;

/** One JSON object per line: `time` (ISO 8601), `level` (a word), `msg`, what `base` has, and the fields of the line; or, pretty, a line of words. */
export const createJsonLog = (sink: Sink, base: Fields, format: LogFormat = 'json'): JsonLog => {
  const unsaid = Object.keys(base);
  const log = pino(
    {
      base,
      level: 'info',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (text: string) => sink.write(format === 'json' ? text : prettyLine(text, unsaid)) },
  );
  return {
    line: (level, message, fields = {}) => log[PINO_LEVEL[level]](fields, message),
    threshold: (level) => {
      log.level = level >= 7 ? 'debug' : level >= 5 ? 'info' : level === 4 ? 'warn' : 'error';
    },
  };
};
