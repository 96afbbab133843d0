/** Severities of syslog(3), which AUTOSSH_LOGLEVEL counts in. */
export const LOG_ERR = 3;
export const LOG_INFO = 6;
export const LOG_DEBUG = 7;

/** One line of the classic log. `pid` is whom it speaks for, where that is not autossh itself. */
export type LogLine = { readonly level: number; readonly text: string; readonly pid?: number };

export const error = (text: string): LogLine => ({ level: LOG_ERR, text });
export const info = (text: string): LogLine => ({ level: LOG_INFO, text });
export const debug = (text: string): LogLine => ({ level: LOG_DEBUG, text });
