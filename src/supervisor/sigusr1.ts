import inspector from 'node:inspector';

/**
 * Takes SIGUSR1 for the supervisor before anything else is loaded. Until this handler stands, Node answers SIGUSR1 by opening
 * its debugger on port 9229; if one came that early, the debugger is closed again and the signal counts as received.
 * (`--disable-sigusr1` is no way out: it keeps the signal blocked for us as well, seen with Node 24.21.)
 *
 * Import this module first.
 */
const listeners: Array<() => void> = [];
let early = 0;

const received = () => {
  if (listeners.length === 0) early++;
  for (const listener of listeners) listener();
};

process.on('SIGUSR1', received);
if (inspector.url() !== undefined && !process.execArgv.some((argument) => argument.startsWith('--inspect'))) {
  inspector.close();
  received();
}

/** Calls back for every SIGUSR1, those included that came before anybody asked. */
export const onSigusr1 = (listener: () => void): void => {
  listeners.push(listener);
  for (; early > 0; early--) listener();
};
