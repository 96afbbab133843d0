import inspector from 'node:inspector';

/**
 * Takes SIGUSR1 for the supervisor before anything else is loaded. Until this handler stands, Node answers SIGUSR1 by opening
 * its debugger; if one came that early, the debugger is closed again and the signal counts as received. The launcher
 * (test/support/build.ts) gives Node the flags that keep such a debugger silent and off a known port.
 * (`--disable-sigusr1` is no way out: it keeps the signal blocked for us as well, seen with Node 24.21.)
 *
 * Import this module first.
 */
const listeners: Array<() => void> = [];
let early = 0;

/**
 * Node's own thread opens the debugger, some time after the signal: it is looked for this often, until it stayed away this long, and
 * then now and then, since no time is long enough for a thread on a busy machine.
 */
const LOOK_EVERY_MS = 10;
const QUIET_MS = 1_000;
const LOOK_AGAIN_MS = 5_000;

const received = () => {
  if (listeners.length === 0) early++;
  for (const listener of listeners) listener();
};

process.on('SIGUSR1', received);

const closeDebugger = (): boolean => {
  if (inspector.url() === undefined) return false;
  inspector.close();
  received();
  return true;
};

if (!process.execArgv.some((argument) => /^--inspect(?:-brk|-wait)?(?:=|$)/.test(argument))) {
  let quietSince = performance.now();
  const look = () => {
    if (closeDebugger()) quietSince = performance.now();
    const isQuiet = performance.now() - quietSince > QUIET_MS;
    setTimeout(look, isQuiet ? LOOK_AGAIN_MS : LOOK_EVERY_MS).unref();
  };
  look();
}

/** Calls back for every SIGUSR1, those included that came before anybody asked. */
export const onSigusr1 = (listener: () => void): void => {
  listeners.push(listener);
  for (; early > 0; early--) listener();
};
