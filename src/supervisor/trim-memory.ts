/** Long enough for the first ssh to be up: then nothing that the start needed is needed any more. */
const AFTER_MS = 5_000;

/**
 * Gives what the start needed back to the system, once: V8 alone collects so little garbage in a process this idle that it would
 * carry those 3 MB for days. Needs `--expose-gc`, which the launcher sets; without it nothing happens.
 */
export const trimMemoryLater = (): void => {
  const collect = (globalThis as { gc?: (options: { type: 'major'; flavor: 'last-resort' }) => void }).gc;
  if (collect !== undefined) setTimeout(() => collect({ type: 'major', flavor: 'last-resort' }), AFTER_MS).unref();
};
