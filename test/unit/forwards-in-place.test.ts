import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DocumentForward } from '../../src/api/document.ts';
import { forwardKey } from '../../src/tunnel/forward-plan.ts';
import * as places from '../../src/tunnel/forwards-in-place.ts';
import { refusedForwards } from '../../src/tunnel/refused-forwards.ts';
import { notYetWhole, wholeAfter } from '../../src/tunnel/whole.ts';

const target = { host: 'db', port: 5432 };
const local = (name: string, port: number, host = '127.0.0.1'): DocumentForward => ({
  ...{ kind: 'local', name, listen: { host, port }, target },
});
const remote = (name: string, port: number): DocumentForward => ({
  ...{ kind: 'remote', name, listen: { host: 'localhost', port }, target },
});
const [a, b, r, s] = [local('a', 1), local('b', 2), remote('r', 3), remote('s', 4)];
const refusal = (retryAt: number, unsure = false) => ({
  ...({ reason: 'RemoteForwardFailed', detail: 'refused', retryAt, unsure } as const),
});

describe('the forwards of a tunnel', () => {
  it('are all on the first command line; a refused one no more, nor any remote one beside a refused one', () => {
    expect(places.onCommandLine(places.noForwards, [a, r])).toEqual([a, r]);
    expect(places.onCommandLine(places.refuse(places.noForwards, a, refusal(9)), [a, b, r])).toEqual([b, r]);
    expect(places.onCommandLine(places.refuse(places.noForwards, r, refusal(9)), [a, r, s])).toEqual([a]);
    expect(places.onCommandLine(places.refuse(places.noForwards, r, refusal(9)), [a, s])).toEqual([a, s]);
  });

  it('are tried again when their time has come, and not before', () => {
    const held = places.refuse(places.startedWith(places.noForwards, [a]), r, refusal(1_000));
    expect(places.nextStep(held, [a, r], 999)).toBeNull();
    expect(places.nextRetryAt(held)).toBe(1_000);
    expect(places.nextStep(held, [a, r], 1_000)).toEqual({ do: 'add', forward: r });
    expect(places.nextStep(places.follow(held, [a, r], { now: true }), [a, r], 0)).toEqual({ do: 'add', forward: r });
    expect(places.inPlace(held, r)).toEqual({ ok: false, reason: 'RemoteForwardFailed', detail: 'refused' });
    const added = places.done(held, { do: 'add', forward: r });
    expect(places.inPlace(added, r)).toEqual({ ok: true });
    expect(places.nextRetryAt(added)).toBeNull();
    expect(places.onCommandLine(added, [a, r])).toEqual([a, r]);
  });

  it('are cancelled first where nobody knows whether they are there', () => {
    const unsure = places.refuse(places.noForwards, r, refusal(1_000, true));
    expect(places.nextStep(unsure, [r], 999)).toBeNull();
    expect(places.nextStep(unsure, [r], 1_000)).toEqual({ do: 'cancel', forward: r });
    expect(places.nextStep(places.follow(unsure, []), [], 1_000)).toEqual({ do: 'cancel', forward: r });
    const gone = places.done(unsure, { do: 'cancel', forward: r });
    expect(places.nextStep(gone, [r], 1_000)).toEqual({ do: 'add', forward: r });
    expect(places.nextRetryAt(places.follow(gone, [a]))).toBeNull();
  });

  it('remember a cancel that failed until it is no longer asked for', () => {
    const stuck = places.refuse(places.startedWith(places.noForwards, [a, b]), b, refusal(1_000));
    expect(places.nextStep(places.follow(stuck, [a]), [a], 999)).toBeNull();
    expect(places.nextStep(places.follow(stuck, [a]), [a], 1_000)).toEqual({ do: 'cancel', forward: b });
    expect(places.inPlace(places.follow(stuck, [a, b]), b)).toEqual({ ok: true });
  });

  it('come to what is wanted, whatever is refused on the way and however often it changes', () => {
    const some = fc.subarray([a, b, r, s, local('c', 5)]);
    fc.assert(
      fc.property(
        some,
        fc.array(some, { minLength: 1 }),
        fc.infiniteStream(fc.integer({ min: 0, max: 5 })),
        (first, wishes, luck) => {
          let state = places.startedWith(places.noForwards, first);
          /** What ssh really has; an add without an answer may or may not be there. */
          const real = new Set(first.map(forwardKey));
          const last = wishes.at(-1) ?? [];
          for (let now = 0; now < 400; now++) {
            const wanted = wishes[Math.floor(now / 3)] ?? last;
            state = places.follow(state, wanted);
            const step = places.nextStep(state, wanted, now);
            if (step === null) continue;
            const key = forwardKey(step.forward);
            const fate = now > 300 ? 5 : luck.next().value;
            if (fate > 1) {
              if (step.do === 'add') real.add(key);
              else real.delete(key);
              state = places.done(state, step);
            } else {
              const answered = fate === 0 || step.do === 'cancel';
              if (!answered) real.add(key);
              state = places.failed(state, step, { reason: 'Unknown', detail: '', retryAt: now + 5 }, answered);
            }
          }
          expect([...real].sort()).toEqual(last.map(forwardKey).sort());
          for (const forward of last) expect(places.inPlace(state, forward)).toEqual({ ok: true });
          expect(places.nextRetryAt(state)).toBeNull();
        },
      ),
    );
  });
});

describe('a refused forward', () => {
  const busy = (port: number, address = '127.0.0.1') => [
    `bind [${address}]:${port}: Address already in use`,
    `channel_setup_fwd_listener_tcpip: cannot listen to port: ${port}`,
  ];
  const GIVEN_UP = 'Could not request local forwarding.';

  it.each<[string, Parameters<typeof refusedForwards>[0], string[], DocumentForward[], DocumentForward[]]>([
    ['local ones, all that were named', 'LocalPortBusy', [...busy(1), ...busy(2), GIVEN_UP], [a, b, r], [a, b]],
    [
      'by its address',
      'LocalPortBusy',
      [...busy(1, '127.0.0.2'), GIVEN_UP],
      [a, local('c', 1, '127.0.0.2')],
      [local('c', 1, '127.0.0.2')],
    ],
    [
      'one at all addresses',
      'LocalPortBusy',
      ['bind [::]:7: Address already in use', ...busy(7, '0.0.0.0')],
      [a, local('c', 7, '*')],
      [local('c', 7, '*')],
    ],
    [
      'not one that had one of two addresses',
      'LocalPortBusy',
      ['bind [::]:7: Address already in use', ...busy(1)],
      [a, local('c', 7, '*')],
      [a],
    ],
    [
      'a remote one, by its port',
      'RemoteForwardFailed',
      ['Error: remote port forwarding failed for listen port 4'],
      [a, r, s],
      [s],
    ],
    [
      'none that is not there',
      'RemoteForwardFailed',
      ['Error: remote port forwarding failed for listen port 5'],
      [a, r, s],
      [],
    ],
    ['none for another reason', 'AuthFailed', busy(1), [a], []],
  ])('is found in the words of ssh: %s', (_about, reason, lines, given, found) => {
    expect(refusedForwards(reason, lines, given).map(({ forward }) => forward)).toEqual(found);
  });

  it('is found by its socket, here and there', () => {
    const here: DocumentForward = { kind: 'local', name: 'x', listen: { path: '/run/x' }, target };
    const there: DocumentForward = { kind: 'remote', name: 'y', listen: { path: '/run/y' }, target };
    const line = 'unix_listener: cannot bind to path /run/x: Address already in use';
    expect(refusedForwards('LocalPortBusy', [line, GIVEN_UP], [a, here])).toEqual([{ forward: here, detail: line }]);
    const said = 'Error: remote port forwarding failed for listen path /run/y';
    expect(refusedForwards('RemoteForwardFailed', [said], [r, there])).toEqual([{ forward: there, detail: said }]);
  });
});

describe('a whole tunnel', () => {
  const up = { connected: true, reason: null } as const;
  const ok = { ok: true } as const;
  const busy = { ok: false, reason: 'LocalPortBusy', detail: '' } as const;
  const untried = { ok: false, reason: null, detail: '' } as const;

  it('has bytes going round and every forward in place', () => {
    expect(wholeAfter(notYetWhole, up, [ok, ok])).toEqual({ connected: true, reason: null, everConnected: true });
    expect(wholeAfter(notYetWhole, { connected: false, reason: 'AuthFailed' }, [busy])).toEqual({
      ...{ connected: false, reason: 'AuthFailed', everConnected: false },
    });
    expect(wholeAfter(notYetWhole, up, [ok, busy])).toEqual({
      ...{ connected: false, reason: 'LocalPortBusy', everConnected: false },
    });
  });

  it('is not there before all forwards were tried, but stays while a new one is', () => {
    expect(wholeAfter(notYetWhole, up, [ok, untried]).connected).toBe(false);
    const whole = wholeAfter(notYetWhole, up, [ok]);
    expect(wholeAfter(whole, up, [ok, untried]).connected).toBe(true);
    expect(wholeAfter(whole, up, [ok, busy])).toEqual({
      connected: false,
      reason: 'LocalPortBusy',
      everConnected: true,
    });
    expect(wholeAfter(whole, { connected: false, reason: 'Killed' }, [ok]).connected).toBe(false);
  });
});
