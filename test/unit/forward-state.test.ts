import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ForwardFacts, firstProbeIn, forwardStates, nextProbeIn } from '../../src/tunnel/forward-state.ts';
import { listenerAddress } from '../../src/tunnel/listener-address.ts';
import { documentWith } from '../support/tunnels.ts';

describe('the forwards of a tunnel', () => {
  const { forwards } = documentWith({
    forwards: [
      { name: 'pg', local: { listen: { port: 5432 }, target: { host: 'db', port: 5432 } } },
      { name: 'web', local: { listen: { port: 8080 }, target: { host: 'web', port: 80 } } },
    ],
  });
  const told = (facts: Partial<ForwardFacts>) =>
    forwardStates(forwards, { sessionUp: true, reason: null, missing: new Map(), probes: new Map(), ...facts }).map(
      ({ name, up, reason }) => [name, up, reason],
    );
  const bad = { ok: false, reason: 'ProbeFailed', detail: 'got 500' } as const;

  it('are up with the session, and down with it and its reason', () => {
    expect(told({})).toEqual([
      ['pg', true, null],
      ['web', true, null],
    ]);
    expect(told({ sessionUp: false, reason: 'AuthFailed' })).toEqual([
      ['pg', false, 'AuthFailed'],
      ['web', false, 'AuthFailed'],
    ]);
  });

  it('are down one by one: by a probe that failed, or where the connection lacks them', () => {
    expect(told({ probes: new Map([['web', bad]]) })).toEqual([
      ['pg', true, null],
      ['web', false, 'ProbeFailed'],
    ]);
    expect(told({ missing: new Map([['pg', 'LocalPortBusy']]), probes: new Map([['pg', bad]]) })).toEqual([
      ['pg', false, 'LocalPortBusy'],
      ['web', true, null],
    ]);
    expect(told({ probes: new Map([['web', { ok: true, tookMs: 3 }]]) })[1]).toEqual(['web', true, null]);
  });

  it('are told as the session is, whatever a probe found before', () => {
    expect(told({ sessionUp: false, reason: 'HeartbeatLost', probes: new Map([['web', bad]]) })[1]).toEqual([
      ...['web', false, 'HeartbeatLost'],
    ]);
  });
});

it('probes soon, then once a period give or take a tenth, and never before the last one ended', () => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(
      fc.integer({ min: 1000, max: 3_600_000 }),
      fc.integer({ min: 0, max: 300_000 }),
      random,
      (period, took, random) => {
        expect(firstProbeIn(period, random)).toBeLessThanOrEqual(1_000);
        const pause = nextProbeIn(period, took, random);
        expect(pause).toBeGreaterThanOrEqual(Math.max(0, period * 0.9 - took));
        expect(pause).toBeLessThanOrEqual(Math.max(0, period * 1.1 - took));
      },
    ),
  );
});

describe('the address of a listener', () => {
  for (const [host, family, expected] of [
    ['127.0.0.1', 'Any', '127.0.0.1'],
    ['10.1.2.3', 'Any', '10.1.2.3'],
    ['*', 'Any', '127.0.0.1'],
    ['*', 'IPv6', '::1'],
    ['localhost', 'IPv4', '127.0.0.1'],
    ['localhost', 'IPv6', '::1'],
    ['0.0.0.0', 'Any', '127.0.0.1'],
    ['::', 'Any', '::1'],
    ['0:0::0', 'Any', '::1'],
    ['::1', 'Any', '::1'],
    ['fd00::', 'Any', 'fd00::'],
  ] as const)
    it(`${host}, ${family}: ${expected}`, () => {
      expect(listenerAddress({ host, port: 80 }, { addressFamily: family })).toEqual({ host: expected, port: 80 });
    });
  it('is the path of a unix socket', () => {
    expect(listenerAddress({ path: '/run/x' }, { addressFamily: 'Any' })).toEqual({ path: '/run/x' });
  });
});
