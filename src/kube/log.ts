export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Where the runtime says what it does. Fields are JSON values; `error` may be an Error. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

export const silent: Log = () => {};

/** The same log with fields on every line. */
export const withFields =
  (log: Log, fields: Readonly<Record<string, unknown>>): Log =>
  (level, message, more) =>
    log(level, message, { ...fields, ...more });

/** One line for whatever was thrown, with the causes behind it: undici's "fetch failed" says nothing without its cause. */
export const describe = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `: ${describe(error.cause)}`;
  return `${error.message || error.name}${cause}`;
};
