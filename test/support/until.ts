import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits until `probe` answers something truthy and returns it. Tests wait on conditions, never on the clock: the deadline
 * (milliseconds) is only how long a broken thing may take to be called broken, so it is generous.
 */
export const until = async <T>(
  what: string,
  probe: () => T | Promise<T>,
  { deadlineMs = 30_000, everyMs = 10, state = () => '' as unknown } = {},
): Promise<Exclude<T, undefined | null | false | 0 | ''>> => {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await probe();
    if (answer) return answer as Exclude<T, undefined | null | false | 0 | ''>;
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms for: ${what}\n${String(state())}`);
    await delay(everyMs);
  }
};
