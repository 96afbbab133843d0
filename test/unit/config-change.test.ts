import { expect, it } from 'vitest';
import { changeBetween, changesBeats } from '../../src/tunnel/config-change.ts';
import { heartbeatPlan } from '../../src/tunnel/heartbeat-plan.ts';
import { documentWith } from '../support/tunnels.ts';

const local = { listen: { port: 5432 }, target: { host: 'db.internal', port: 5432 } };
const forwards = [{ name: 'pg', local }];

it('needs another connection for another forward, and none for another probe or heartbeat', () => {
  const before = documentWith({ forwards });
  const moved = [{ name: 'pg', local: { ...local, listen: { port: 5433 } } }];
  expect(changeBetween(before, documentWith({ forwards: moved }))).toBe('reconnect');
  expect(changeBetween(before, documentWith({ forwards: [{ name: 'pg', local, probe: { tcp: {} } }] }))).toBe(
    'nothing',
  );
  expect(changeBetween(before, documentWith({ forwards, heartbeat: { method: 'Echo', echoPort: 7 } }))).toBe('nothing');
});

it('knows what changes the beats', () => {
  const times = { periodMs: 5_000, timeoutMs: 3_000 };
  const before = { ...times, document: documentWith({ forwards }) };
  expect(changesBeats(before, { ...before, document: documentWith({ forwards }) })).toBe(false);
  expect(changesBeats(before, { ...before, periodMs: 1_000 })).toBe(true);
  expect(changesBeats(before, { ...before, timeoutMs: 1_000 })).toBe(true);
  for (const heartbeat of [
    { method: 'Ping' },
    { method: 'Echo', echoPort: 7 },
    { method: 'Echo', echoPort: 8 },
    { method: 'Forward', forward: 'pg' },
  ])
    expect(changesBeats(before, { ...before, document: documentWith({ forwards, heartbeat }) })).toBe(true);
});

it('plans what a heartbeat is made of; a document without what its method needs gets Auto', () => {
  const document = documentWith({ forwards, heartbeat: { method: 'Forward', forward: 'pg' } });
  expect(heartbeatPlan(document)).toEqual({ method: 'Forward', forward: 'pg', target: local.target });
  expect(heartbeatPlan({ ...document, forwards: [] })).toEqual({ method: 'Auto' });
  const { echoPort: _none, ...heartbeat } = { ...document.heartbeat, method: 'Echo' as const };
  expect(heartbeatPlan({ ...document, heartbeat })).toEqual({ method: 'Auto' });
});
