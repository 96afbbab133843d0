import { execFileSync } from 'node:child_process';

/** Runs a command that may read no more than the modes of files allow: root may read everything otherwise. */
export const BARRED: readonly string[] =
  process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--'] : [];

/** Why that cannot be had here, or null. */
export const whyNotBarred = (): string | null => {
  try {
    const [file = 'true', ...args] = [...BARRED, 'true'];
    execFileSync(file, args, { stdio: 'pipe' });
    return null;
  } catch (problem) {
    return `no files that root may not read: expected setpriv and the right to give up capabilities, got ${String((problem as Error).message).split('\n')[0]}`;
  }
};
