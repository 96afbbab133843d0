import { describe, expect, it } from 'vitest';
import {
  cameBack,
  failedAgain,
  noOutage,
  type Outage,
  type Telling,
  WELL_AFTER_MS,
} from '../../src/tunnel/quiet-repeats.ts';

const REFUSED = { reason: 'ConnectionRefused', detail: 'connect to host db port 22: Connection refused' } as const;
const DENIED = { reason: 'AuthFailed', detail: 'Permission denied (publickey).' } as const;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Everything told, with the time; silence is left out. */
const tell = () => {
  let outage: Outage = noOutage;
  const told: [number, Telling][] = [];
  const note = (at: number, next: { outage: Outage; telling: Telling }) => {
    outage = next.outage;
    if (next.telling.tell !== 'nothing') told.push([at, next.telling]);
  };
  return {
    told,
    outage: () => outage,
    fails: (at: number, failure: Parameters<typeof failedAgain>[1] = REFUSED) =>
      note(at, failedAgain(outage, failure, at)),
    beats: (at: number) => note(at, cameBack(outage, at)),
  };
};

describe('a tunnel that fails the same way', () => {
  it('is told in full once, then in sums at growing intervals: 15 lines in twelve hours', () => {
    const log = tell();
    for (let at = 0; at <= 12 * HOUR; at += 5_000) log.fails(at);
    expect(log.told.map(([at]) => at / MINUTE)).toEqual([
      0, 1, 6, 21, 81, 141, 201, 261, 321, 381, 441, 501, 561, 621, 681,
    ]);
    expect(log.told[0]?.[1]).toEqual({ tell: 'full' });
    expect(log.told[1]?.[1]).toEqual({ tell: 'summary', count: 13, spanMs: MINUTE, nextMs: 5 * MINUTE });
    expect(log.told[4]?.[1]).toEqual({ tell: 'summary', count: 973, spanMs: 81 * MINUTE, nextMs: HOUR });
  });

  it('is the same whatever the ports and times in its words', () => {
    const log = tell();
    log.fails(0, { reason: 'ConnectTimeout', detail: 'no connection 20 s after ssh was started' });
    log.fails(1_000, { reason: 'ConnectTimeout', detail: 'no connection 21 s after ssh was started' });
    expect(log.told).toHaveLength(1);
  });

  it('is told in full when the reason changes, and when an old one is back', () => {
    const log = tell();
    for (let at = 0; at < 5 * MINUTE; at += 5_000)
      log.fails(at, at < 2 * MINUTE ? REFUSED : at < 4 * MINUTE ? DENIED : REFUSED);
    expect(log.told.filter(([, { tell }]) => tell === 'full').map(([at]) => at / MINUTE)).toEqual([0, 2, 4]);
  });

  it('stays quiet where two reasons take turns', () => {
    const log = tell();
    for (let at = 0, i = 0; at < HOUR; at += 5_000, i++) log.fails(at, i % 2 ? DENIED : REFUSED);
    expect(log.told.filter(([, { tell }]) => tell === 'full')).toHaveLength(2);
    expect(log.told.length).toBeLessThanOrEqual(8);
  });

  it('keeps little, whatever comes', () => {
    const log = tell();
    const letters = 'abcdefghijklmnopqrstuvwxyz';
    for (const letter of letters) log.fails(0, { reason: 'Unknown', detail: letter });
    expect(log.outage().kinds).toHaveLength(8);
    expect(log.outage().attempts).toBe(26);
  });
});

describe('a recovery', () => {
  it('tells how long it was down and after how many failures, once', () => {
    const log = tell();
    log.beats(0);
    log.fails(1_000);
    log.fails(3_000, DENIED);
    log.fails(5_000);
    log.told.length = 0;
    for (let at = 9_000; at < 3 * MINUTE; at += 5_000) log.beats(at);
    expect(log.told).toEqual([[9_000, { tell: 'recovered', downMs: 8_000, attempts: 3 }]]);
    expect(log.outage()).toEqual(noOutage);
  });

  it('that lasts makes the next failure news again', () => {
    const log = tell();
    log.fails(0);
    for (let at = 5_000; at <= 5_000 + WELL_AFTER_MS; at += 5_000) log.beats(at);
    log.fails(2 * MINUTE);
    expect(log.told.map(([, { tell }]) => tell)).toEqual(['full', 'recovered', 'full']);
  });

  it('of a tunnel that goes up and down all the time is told as seldom as its downs, and when it has stayed up', () => {
    const log = tell();
    let at = 0;
    for (; at < 2 * HOUR; at += 10_000) {
      log.fails(at);
      log.beats(at + 1_000);
      log.beats(at + 6_000);
    }
    const during = log.told.length;
    expect(during).toBeLessThanOrEqual(14);
    for (; at < 3 * HOUR; at += 5_000) log.beats(at);
    expect(log.told.slice(during)).toEqual([
      [expect.any(Number), { tell: 'recovered', downMs: expect.any(Number), attempts: 720 }],
    ]);
  });
});
