import { describe, expect, it } from 'vitest';
import { apiErrorFrom, isConflict, isGone, isTransient } from '../../../src/kube/api-error.ts';
import { createBackoff, REFLECTOR_BACKOFF } from '../../../src/kube/backoff.ts';
import { type Condition, isTrue, removeCondition, setCondition } from '../../../src/kube/conditions.ts';
import { describe as inWords } from '../../../src/kube/log.ts';
import { microTime } from '../../../src/kube/micro-time.ts';
import { controllerOf, keyOf, splitKey } from '../../../src/kube/object.ts';
import { CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, pathOf } from '../../../src/kube/resource.ts';
import { createStore } from '../../../src/kube/store.ts';
import { createTokenBucket } from '../../../src/kube/token-bucket.ts';

describe('conditions', () => {
  const at = (iso: string) => new Date(iso);
  const ready = { type: 'Ready', status: 'True', reason: 'Up', message: 'up', observedGeneration: 1 } as const;
  const first = setCondition([], ready, at('2026-01-01T00:00:00.123Z'));

  it('begin with the time in whole seconds', () => {
    expect(first).toEqual([{ ...ready, lastTransitionTime: '2026-01-01T00:00:00Z' }]);
  });
  it('stay the very same list when nothing changes', () => {
    expect(setCondition(first, ready, at('2026-01-02T00:00:00Z'))).toBe(first);
  });
  it('keep the time when only words or the generation change', () => {
    const next = setCondition(
      first,
      { ...ready, message: 'still up', observedGeneration: 2 },
      at('2026-01-02T00:00:00Z'),
    );
    expect(next).toEqual([
      { ...ready, message: 'still up', observedGeneration: 2, lastTransitionTime: '2026-01-01T00:00:00Z' },
    ]);
  });
  it('move the time with the status, and leave others and their order alone', () => {
    const other: Condition = { ...ready, type: 'Accepted', lastTransitionTime: '2025-01-01T00:00:00Z' };
    const next = setCondition([...first, other], { ...ready, status: 'False' }, at('2026-01-02T00:00:00Z'));
    expect(next).toEqual([{ ...ready, status: 'False', lastTransitionTime: '2026-01-02T00:00:00Z' }, other]);
  });
  it('count as true only for the generation they were said of', () => {
    expect([isTrue(first, 'Ready', 1), isTrue(first, 'Ready', 2), isTrue(first, 'Accepted', 1)]).toEqual([
      true,
      false,
      false,
    ]);
  });
  it('can be removed', () => {
    expect(removeCondition(first, 'Ready')).toEqual([]);
    expect(removeCondition(first, 'Accepted')).toBe(first);
  });
});

describe('an answer that is no success', () => {
  const status = { kind: 'Status', code: 409, reason: 'Conflict', message: 'modified', details: { name: 'a' } };
  it('has the code, reason and words of the server', () => {
    const error = apiErrorFrom('PUT /x', 409, JSON.stringify(status));
    expect(error).toMatchObject({ code: 409, reason: 'Conflict', message: 'PUT /x: 409 modified' });
    expect(isConflict(error)).toBe(true);
  });
  it('tells an object that exists from one that has changed', () => {
    expect(isConflict(apiErrorFrom('POST /x', 409, JSON.stringify({ ...status, reason: 'AlreadyExists' })))).toBe(
      false,
    );
  });
  it('takes the time to wait from the header, else from the body', () => {
    const slow = JSON.stringify({ ...status, details: { retryAfterSeconds: 3 } });
    expect(apiErrorFrom('GET /x', 429, slow, '7').retryAfterMs).toBe(7000);
    expect(apiErrorFrom('GET /x', 429, slow).retryAfterMs).toBe(3000);
    expect(apiErrorFrom('GET /x', 429, slow, '86400').retryAfterMs).toBe(60_000);
    expect(apiErrorFrom('GET /x', 429, '', 'Wed, 21 Oct 2026 07:28:00 GMT').retryAfterMs).toBeUndefined();
  });
  it('can be a page of a load balancer', () => {
    const error = apiErrorFrom('GET /x', 502, `<html>${'x'.repeat(1000)}`);
    expect(error.reason).toBe('');
    expect(error.message.length).toBeLessThan(300);
    expect(isTransient(error)).toBe(true);
  });
  it('is Gone by its code or its reason', () => {
    expect(isGone(apiErrorFrom('WATCH /x', 410, ''))).toBe(true);
    expect(isGone(apiErrorFrom('WATCH /x', 400, JSON.stringify({ ...status, reason: 'Expired' })))).toBe(true);
  });
});

describe('small parts', () => {
  it('backoff doubles with jitter, has a maximum, and forgets after health', () => {
    const backoff = createBackoff({ ...REFLECTOR_BACKOFF, random: () => 0.5 });
    let now = 0;
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      const wait = backoff.next(now);
      waits.push(wait);
      now += wait;
    }
    expect(waits).toEqual([1200, 2400, 4800, 9600, 15_000, 15_000, 15_000, 15_000]);
    expect(backoff.next(now + 120_001)).toBe(1200);
  });

  it('token bucket gives a burst, then its rate', () => {
    const bucket = createTokenBucket({ perSecond: 2, burst: 2, now: 0 });
    expect([bucket.take(0), bucket.take(0), bucket.take(0), bucket.take(499), bucket.take(500)]).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
    expect([bucket.reserve(500), bucket.reserve(500)]).toEqual([500, 1000]);
  });

  it('keys name an object with and without a namespace', () => {
    expect(keyOf({ metadata: { name: 'a', namespace: 'n' } })).toBe('n/a');
    expect(splitKey('n/a')).toEqual({ namespace: 'n', name: 'a' });
    expect(splitKey('a')).toEqual({ name: 'a' });
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: '1' };
    expect(controllerOf({ metadata: { ownerReferences: [owner] } })).toBeUndefined();
    expect(controllerOf({ metadata: { ownerReferences: [{ ...owner, controller: true }] } })?.name).toBe('x');
  });

  it('paths are those of the API', () => {
    expect(pathOf(CONFIG_MAPS)).toBe('/api/v1/configmaps');
    expect(pathOf(CONFIG_MAPS, { namespace: 'n', name: 'a' })).toBe('/api/v1/namespaces/n/configmaps/a');
    expect(pathOf(DEPLOYMENTS, { namespace: 'n', name: 'a', subresource: 'status' })).toBe(
      '/apis/apps/v1/namespaces/n/deployments/a/status',
    );
    expect(pathOf(NAMESPACES, { name: 'n' })).toBe('/api/v1/namespaces/n');
    expect(() => pathOf(CONFIG_MAPS, { name: 'a' })).toThrow('expected a namespace for ConfigMap "a"; got none');
  });

  it('times have six digits', () => {
    expect(microTime(new Date('2026-01-01T00:00:00.123Z'))).toBe('2026-01-01T00:00:00.123000Z');
  });

  it('errors are told with their causes', () => {
    expect(inWords(new Error('fetch failed', { cause: new Error('ECONNREFUSED') }))).toBe('fetch failed: ECONNREFUSED');
  });

  it('store finds by index what is there now, and nothing else', () => {
    type Pod = { metadata: { name: string; labels: Record<string, string> } };
    const store = createStore<Pod, 'tier'>({
      tier: ({ metadata }) => (metadata.labels['tier'] === undefined ? [] : [metadata.labels['tier']]),
    });
    const pod = (name: string, tier: string): Pod => ({ metadata: { name, labels: { tier } } });
    const names = (tier: string) => store.byIndex('tier', tier).map(({ metadata }) => metadata.name);
    store.put(pod('a', 'web'));
    store.put(pod('b', 'web'));
    expect(names('web')).toEqual(['a', 'b']);
    expect(store.put(pod('a', 'db'))).toEqual(pod('a', 'web'));
    expect([names('web'), names('db')]).toEqual([['b'], ['a']]);
    store.remove('a');
    expect([names('db'), store.get('a'), store.size()]).toEqual([[], undefined, 1]);
  });
});
