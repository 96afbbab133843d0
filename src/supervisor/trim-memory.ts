/** Long enough for the first ssh to be up: then nothing that the start needed is needed any more. */
const AFTER_MS = 5_000;
/** What the beats leave behind is moved to where V8, in a process this idle, would not look for days. One look takes some 20 ms. */
const EVERY_MS = 120_000;

/**
 * Gives what is not needed any more back to the system, after the start and every two minutes. Needs `--expose-gc`, which the launcher
 * sets; without it nothing happens.
 */
export const trimMemoryLater = (): void => {
  const collect = (globalThis as { gc?: (options: { type: 'major'; flavor: 'last-resort' }) => void }).gc;
  if (collect === undefined) return;
  const trim = () => collect({ type: 'major', flavor: 'last-resort' });
  setTimeout(trim, AFTER_MS).unref();
  setInterval(trim, EVERY_MS).unref();
};
