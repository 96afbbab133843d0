import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { KubeClient } from '../../../src/kube/client.ts';
import { createLeaderElector } from '../../../src/kube/leader-election.ts';
import { createLeaseKeeper } from '../../support/kube/lease-keeper.ts';
import { createVirtualClock } from '../../support/kube/virtual-clock.ts';

const TIMES = { leaseMs: 15_000, renewMs: 10_000, retryMs: 2_000 };

const make = () => {
  const clock = createVirtualClock();
  const keeper = createLeaseKeeper();
  const elect = (identity: string, client: KubeClient = keeper) => {
    const elector = createLeaderElector({ ...TIMES, client, namespace: 'n', name: 'l', identity, clock });
    const stop = new AbortController();
    const led = { at: Number.NaN };
    const outcome = elector.run(stop.signal, async (signal) => {
      led.at = clock.now();
      if (!signal.aborted) await once(signal, 'abort');
    });
    return { elector, stop, led, outcome };
  };
  return { clock, keeper, elect };
};

describe('a leader', () => {
  it.each([
    ['is not answered', () => new Promise<never>(() => {})],
    ['is refused', () => Promise.reject(new Error('no'))],
  ])('that %s ends by the whole margin before anybody else begins', async (_, fails) => {
    // Whenever it is cut off, between one renewal and the next.
    for (let cutAt = 20_000; cutAt < 22_500; cutAt += 250) {
      const { clock, keeper, elect } = make();
      let isCut = false;
      const calls = ['get', 'create', 'update'] as const;
      const cuttable = Object.fromEntries(
        calls.map((call) => [
          call,
          (...args: never[]) => (isCut ? fails() : (keeper[call] as (...all: never[]) => unknown)(...args)),
        ]),
      ) as unknown as KubeClient;
      const first = elect('first', cuttable);
      await clock.advance(100);
      const second = elect('second');
      await clock.advance(cutAt);
      isCut = true;
      let ended = Number.NaN;
      while (Number.isNaN(second.led.at)) {
        expect(clock.now()).toBeLessThan(cutAt + 60_000);
        await clock.advance(10);
        if (!first.elector.isLeader() && Number.isNaN(ended)) ended = clock.now();
        expect([first.elector.isLeader(), second.elector.isLeader()]).not.toEqual([true, true]);
      }
      expect(await first.outcome).toBe('lost');
      expect(second.led.at - ended).toBeGreaterThanOrEqual(TIMES.leaseMs - TIMES.renewMs - 10);
      second.stop.abort();
      await clock.advance(10_000);
      expect(await second.outcome).toBe('stopped');
    }
  });

  it('that stood still for too long does not lead until it has looked, whatever its timers say', async () => {
    const clock = createVirtualClock();
    let stoodStill = 0;
    const own = { ...clock, now: () => clock.now() + stoodStill };
    const client = createLeaseKeeper();
    const elector = createLeaderElector({ ...TIMES, client, namespace: 'n', name: 'l', identity: 'first', clock: own });
    const stop = new AbortController();
    const outcome = elector.run(stop.signal, async (signal) => void (await once(signal, 'abort')));
    await clock.advance(100);
    expect(elector.isLeader()).toBe(true);
    // None of its timers has come yet.
    stoodStill = TIMES.renewMs;
    expect(elector.isLeader()).toBe(false);
    await clock.advance(TIMES.retryMs);
    // Nobody has taken the lease meanwhile.
    expect(elector.isLeader()).toBe(true);
    stop.abort();
    await clock.advance(TIMES.retryMs);
    expect(await outcome).toBe('stopped');
  });
});
