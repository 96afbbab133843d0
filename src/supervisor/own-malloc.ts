/** Set by the launcher (test/support/build.ts) where it chose the settings of glibc's malloc for us, and not the user. */
const MARK = 'AUTOSSH_MALLOC';
const SETTINGS = ['MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_', MARK];

/**
 * Takes away what the launcher added to our environment for our own memory's sake: ssh, and all that it runs, get what the user gave.
 * Returns what was taken, for another process of ours; empty where the launcher added nothing.
 */
export const takeOwnMalloc = (env: Record<string, string | undefined>): Record<string, string> => {
  if (env[MARK] === undefined) return {};
  const own = SETTINGS.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]));
  for (const name of SETTINGS) delete env[name];
  return Object.fromEntries(own);
};
