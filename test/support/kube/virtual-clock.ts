import { setImmediate as settle } from 'node:timers/promises';
import type { Clock } from '../../../src/kube/clock.ts';

export type VirtualClock = Clock & {
  /** Lets time pass and everything happen that is due in it, in order. */
  readonly advance: (ms: number) => Promise<void>;
  readonly pending: () => number;
  /** Sets the time of day forward (or back), as an administrator or NTP does; nothing becomes due by it. */
  readonly jump: (ms: number) => void;
};

/** Time that only passes when a test says so. */
export const createVirtualClock = (start = new Date('2026-01-01T00:00:00Z')): VirtualClock => {
  let now = 0;
  let order = 0;
  let jumped = 0;
  const timers = new Map<number, { readonly at: number; readonly callback: () => void }>();
  const next = (until: number) =>
    [...timers]
      .filter(([, timer]) => timer.at <= until)
      .sort(([a, { at: atA }], [b, { at: atB }]) => atA - atB || a - b)[0];
  return {
    now: () => now,
    date: () => new Date(start.getTime() + now + jumped),
    after: (ms, callback) => {
      const id = order++;
      timers.set(id, { at: now + Math.max(0, ms), callback });
      return () => timers.delete(id);
    },
    advance: async (ms) => {
      const until = now + ms;
      await settle();
      for (let due = next(until); due !== undefined; due = next(until)) {
        const [id, { at, callback }] = due;
        timers.delete(id);
        now = at;
        callback();
        // A turn of the event loop: whoever was woken up may set further timers.
        await settle();
      }
      now = until;
      await settle();
    },
    pending: () => timers.size,
    jump: (ms) => {
      jumped += ms;
    },
  };
};
