import { describe, expect, it } from 'vitest';
import type { KubeClient } from '../../../src/kube/client.ts';
import { reflect } from '../../../src/kube/reflector.ts';
import { CONFIG_MAPS } from '../../../src/kube/resource.ts';
import { createRecordingMeter } from '../../support/kube/recording.ts';
import { createVirtualClock } from '../../support/kube/virtual-clock.ts';

type Answer = {
  readonly statusCode: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
};
type List = Awaited<ReturnType<KubeClient['list']>>;

/** Time is virtual here, and answers are such as no real server gives: only the two calls that are made. */
const start = (answer: Answer, list: List = { metadata: { resourceVersion: '7' }, items: [] }) => {
  const clock = createVirtualClock();
  const { meter, value } = createRecordingMeter();
  const stop = new AbortController();
  const watches: unknown[] = [];
  const replaced: number[] = [];
  const open = async ({ query }: { query: { resourceVersion?: unknown } }) => {
    watches.push(query.resourceVersion);
    const chunks = async function* () {
      yield new TextEncoder().encode(answer.body);
    };
    const body = Object.assign(chunks(), { text: async () => answer.body });
    return { statusCode: answer.statusCode, headers: answer.headers ?? {}, body };
  };
  const client = { open, list: async () => list } as unknown as KubeClient;
  const sink = { replace: () => void replaced.push(clock.now()), apply: () => {} };
  const options = { client, resource: CONFIG_MAPS, sink, clock, meter, random: () => 0, signal: stop.signal };
  const ended = reflect(options);
  const count = (metric: string, more = '') => value(`kube_reflector_${metric}{${more}resource=configmaps}`) ?? 0;
  const end = async () => {
    stop.abort();
    await clock.advance(0);
    await ended;
  };
  return { clock, watches, replaced, count, end };
};

describe('a reflector', () => {
  it('is not deaf for a day because a server says so', async () => {
    const one = start({ statusCode: 503, headers: { 'retry-after': '86400' }, body: '' });
    await one.clock.advance(59_000);
    expect(one.watches).toHaveLength(1);
    await one.clock.advance(2_000);
    expect(one.watches).toHaveLength(2);
    await one.end();
  });

  it.each([
    ['is no JSON', '<html>\n'],
    ['is no object', 'null\n'],
    ['has a type nobody knows', '{"type":"NONSENSE","object":{"metadata":{"resourceVersion":"9"}}}\n'],
    ['has no object', '{"type":"ADDED"}\n'],
    ['has an object without a version', '{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n'],
    ['has an error that is nothing', '{"type":"ERROR"}\n'],
  ])('lists again, with growing waits, after a line of a watch that %s', async (_, body) => {
    const one = start({ statusCode: 200, body });
    await one.clock.advance(60_000);
    // 0.8 + 1.6 + 3.2 + 6.4 s, then 10 s each.
    expect(one.replaced).toEqual([0, 800, 2400, 5600, 12_000, 22_000, 32_000, 42_000, 52_000]);
    expect(one.watches).toEqual(one.replaced.map(() => '7'));
    expect(one.count('errors_total', 'reason=Unknown,')).toBe(one.replaced.length);
    await one.end();
  });

  it('goes on where it was after a line that was cut off', async () => {
    const one = start({ statusCode: 200, body: '{"type":"ADDED","obj' });
    await one.clock.advance(60_000);
    expect(one.replaced).toEqual([0]);
    expect(one.watches.length).toBeGreaterThan(5);
    await one.end();
  });

  it.each([{}, { resourceVersion: '' }])('waits longer and longer after a list with %j', async (metadata) => {
    const one = start({ statusCode: 200, body: '' }, { metadata, items: [] });
    await one.clock.advance(60_000);
    expect([one.replaced, one.watches]).toEqual([[], []]);
    expect(one.count('lists_total')).toBe(9);
    expect(one.count('errors_total', 'reason=Unknown,')).toBe(9);
    await one.end();
  });
});
