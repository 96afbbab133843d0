import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REASONS, type Reason } from '../../src/api/reasons.ts';
import { pauseBounds, pauseMs, type RetryLimits, retryClass, SHORTEST_PAUSE_MS } from '../../src/tunnel/backoff.ts';
import type { RetryClass } from '../../src/tunnel/machine.ts';

const DEFAULT: RetryLimits = { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 };
const limits = fc.record({
  networkMaxSeconds: fc.integer({ min: 1, max: 3600 }),
  remotePortBusySeconds: fc.integer({ min: 1, max: 3600 }),
  authMaxSeconds: fc.integer({ min: 1, max: 86_400 }),
});
const kind = fc.constantFrom<RetryClass>('network', 'port', 'auth');
const attempt = fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 2 ** 31 - 1 }));

describe('the class of a reason', () => {
  it('is port or auth for these, network for the rest', () => {
    const of = (wanted: RetryClass): Reason[] => REASONS.filter((reason) => retryClass(reason) === wanted);
    expect(of('port').sort()).toEqual(['LocalPortBusy', 'RemoteForwardFailed', 'RemotePortBusy']);
    expect(of('network').sort()).toEqual([
      ...['ConnectTimeout', 'ConnectionRefused', 'HeartbeatLost', 'KeepAliveTimeout', 'Killed', 'NameResolution'],
      ...['NetworkUnreachable', 'RemoteClosed', 'TargetUnreachable', 'Unknown'],
    ]);
    expect(of('auth')).toHaveLength(REASONS.length - 13);
  });
});

describe('the pause', () => {
  it.each<[RetryClass, number, number, number]>([
    ['network', 1, 100, 500],
    ['network', 2, 100, 1000],
    ['network', 4, 100, 4000],
    ['network', 5, 100, 5000],
    ['network', 1000, 100, 5000],
    ['port', 1, 12_000, 18_000],
    ['port', 9, 12_000, 18_000],
    ['auth', 1, 2500, 5000],
    ['auth', 2, 5000, 10_000],
    ['auth', 6, 80_000, 160_000],
    ['auth', 7, 150_000, 300_000],
    ['auth', 1000, 150_000, 300_000],
  ])('%s, attempt %d: %d to %d ms', (kind, attempt, min, max) => {
    expect(pauseBounds(kind, attempt, DEFAULT)).toEqual({ min, max });
    expect(pauseMs(kind, attempt, DEFAULT, 0)).toBe(min);
    expect(pauseMs(kind, attempt, DEFAULT, 0.5)).toBe((min + max) / 2);
  });

  it('lies within its bounds and its limit, and is never shorter than the shortest', () => {
    fc.assert(
      fc.property(kind, attempt, limits, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (...drawn) => {
        const [kind, attempt, limits, random] = drawn;
        const { min, max } = pauseBounds(kind, attempt, limits);
        const pause = pauseMs(kind, attempt, limits, random);
        expect(pause).toBeGreaterThanOrEqual(Math.floor(min));
        expect(pause).toBeLessThanOrEqual(Math.ceil(max));
        expect(pause).toBeGreaterThanOrEqual(SHORTEST_PAUSE_MS);
        const most = { network: limits.networkMaxSeconds, auth: limits.authMaxSeconds };
        const seconds = kind === 'port' ? limits.remotePortBusySeconds * 1.2 : most[kind];
        expect(pause).toBeLessThanOrEqual(Math.ceil(seconds * 1000));
      }),
      { numRuns: 1000 },
    );
  });

  it('does not shrink with further attempts', () => {
    fc.assert(
      fc.property(kind, attempt, limits, (kind, attempt, limits) => {
        const [now, next] = [pauseBounds(kind, attempt, limits), pauseBounds(kind, attempt + 1, limits)];
        expect(next.min).toBeGreaterThanOrEqual(now.min);
        expect(next.max).toBeGreaterThanOrEqual(now.max);
      }),
    );
  });
});
