import { stripVTControlCharacters, styleText } from 'node:util';

/** How a log is written: a machine reads JSON, a person at a terminal a line of words. */
export type LogFormat = 'json' | 'pretty';

/** What was asked for, else what suits the reader. Throws a sentence where it is neither. */
export const logFormat = (asked: string | undefined, isTerminal: boolean): LogFormat => {
  if (asked === undefined) return isTerminal ? 'pretty' : 'json';
  if (asked === 'json' || asked === 'pretty') return asked;
  throw new Error(`expected --log-format json or pretty; got ${JSON.stringify(asked)}`);
};

/**
 * One line of the JSON log as a person reads it: `11:02:33.120 warn  ssh ended  reason=RemoteClosed`. Words of a server can be in any
 * field, so nothing reaches the terminal that it would obey. (pino-pretty does this and much more, with 13 packages.)
 */
export const prettyLine = (json: string, hidden: readonly string[]): string => {
  const { time, level, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const rest = Object.entries(fields)
    .filter(([name]) => !hidden.includes(name))
    .map(([name, value]) => dim(`${name}=`) + harmless(typeof value === 'string' ? quoted(value) : String(value)));
  const clock = dim(String(time).slice(11, 23));
  return `${[clock, paint(String(level)), harmless(String(msg)), ...rest].join(' ')}\n`;
};

const PAINT: Readonly<Record<string, 'red' | 'yellow' | 'cyan'>> = { error: 'red', warn: 'yellow', info: 'cyan' };
/** styleText itself looks whether stderr takes colours (NO_COLOR, a pipe). */
const paint = (level: string): string => styleText(PAINT[level] ?? 'dim', level.padEnd(5), { stream: process.stderr });
const dim = (text: string): string => styleText('dim', text, { stream: process.stderr });
const quoted = (text: string): string => (/^[\w./:@%+-]+$/.test(text) ? text : JSON.stringify(text));
/** Without escape sequences, and without the control characters that are left, C1 and line ends included. */
const harmless = (text: string): string => stripVTControlCharacters(text).replace(/\p{Cc}/gu, '\u{fffd}');
