import { execFileSync } from 'node:child_process';

/**
 * A command that runs another one where inotify_init(2) fails with EMFILE, as it does for the 129th process of a user: a user namespace
 * of its own with a limit of 0 (user_namespaces(7), max_inotify_instances).
 */
export const WITHOUT_INOTIFY = [
  ...['unshare', '--user', '--map-root-user', '--'],
  ...['sh', '-c', 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', 'sh'],
  ...['setpriv', '--pdeathsig', 'KILL', '--'],
];

const WATCH =
  "try { require('fs').watch('/'); process.exit(1) } catch (error) { if (error.code !== 'EMFILE') throw error }";

/** Why there can be no such place here, or null. */
export const whyNoInotifyLimit = (): string | null => {
  const [file = '', ...args] = [...WITHOUT_INOTIFY, process.execPath, '-e', WATCH];
  try {
    execFileSync(file, args, { stdio: 'pipe' });
    return null;
  } catch (problem) {
    return `no limit on inotify: expected user namespaces, got ${String((problem as Error).message).split('\n')[0]}`;
  }
};
