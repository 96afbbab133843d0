import { describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/kube/api-error.ts';
import type { KubeClient } from '../../../src/kube/client.ts';
import { createEventRecorder } from '../../../src/kube/events.ts';
import { createRecordingMeter } from '../../support/kube/recording.ts';
import { createVirtualClock } from '../../support/kube/virtual-clock.ts';

const refusal = (code: number, reason: string) => new ApiError({ code, reason, message: reason });

/** Time is virtual here, so no server can be real: a call throws what is said, and is noted. */
const start = (answers: { create?: (nth: number) => void; patch?: (nth: number) => void }) => {
  const clock = createVirtualClock();
  const { meter, value } = createRecordingMeter();
  const created: number[] = [];
  const patched: number[] = [];
  const client = {
    create: async (_: unknown, { series }: { series?: { count: number } }) => {
      created.push(series?.count ?? 1);
      answers.create?.(created.length);
    },
    patch: async (_: unknown, __: unknown, { body }: { body: { series: { count: number } } }) => {
      patched.push(body.series.count);
      answers.patch?.(patched.length);
    },
  } as unknown as KubeClient;
  const recorder = createEventRecorder({ client, controller: 'c', instance: 'i', clock, meter });
  const regarding = { apiVersion: 'v1', kind: 'Pod', name: 'p', namespace: 'n' };
  const record = () => recorder.record({ regarding, type: 'Warning', reason: 'Broken', action: 'Look', note: 'it is' });
  return { clock, created, patched, record, refused: () => value('kube_events_dropped_total{reason=refused}') ?? 0 };
};

describe('an event recorder', () => {
  it.each([
    ['refused', refusal(403, 'Forbidden'), 1],
    ['failed for too long', refusal(503, 'ServiceUnavailable'), 4],
  ])('gives a series up that is %s, until it is repeated', async (_, error, attempts) => {
    const { clock, created, patched, record, refused } = start({
      patch: () => {
        throw error;
      },
    });
    record();
    await clock.advance(61_000);
    record();
    await clock.advance(2 * 3_600_000);
    expect([created, patched]).toEqual([[1], Array.from({ length: attempts }, () => 2)]);
    expect([refused(), clock.pending()]).toEqual([1, 0]);
  });

  it('writes the whole count when a series goes on that was given up', async () => {
    const { clock, patched, record } = start({
      patch: (nth) => {
        if (nth === 1) throw refusal(403, 'Forbidden');
      },
    });
    for (let i = 0; i < 3; i++) {
      record();
      await clock.advance(61_000);
    }
    expect(patched).toEqual([2, 3]);
  });

  it('creates the event of a series anew that the server forgot', async () => {
    const { clock, created, record, refused } = start({
      patch: () => {
        throw refusal(404, 'NotFound');
      },
    });
    record();
    await clock.advance(61_000);
    record();
    await clock.advance(61_000);
    expect([created, refused()]).toEqual([[1, 2], 0]);
  });

  it('takes an event for written that is there already: the answer was lost', async () => {
    const { clock, created, patched, record, refused } = start({
      create: (nth) => {
        throw nth === 1 ? new Error('other side closed') : refusal(409, 'AlreadyExists');
      },
    });
    record();
    await clock.advance(61_000);
    record();
    await clock.advance(61_000);
    expect([created, patched, refused()]).toEqual([[1, 1], [2], 0]);
  });
});
