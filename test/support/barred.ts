import { whyNot } from './needs.ts';

/** Runs a command that may read no more than the modes of files allow: root may read everything otherwise. */
export const BARRED: readonly string[] =
  process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--'] : [];

/** Why that cannot be had here, or null. */
export const whyNotBarred = (): string | null =>
  whyNot('files that root may not read', 'setpriv and the right to give up capabilities', [
    BARRED[0] ?? 'true',
    ...BARRED.slice(1),
    'true',
  ]);
