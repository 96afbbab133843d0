import { expect, it } from 'vitest';
import { REASONS } from '../../src/api/reasons.ts';
import { changeBetween, changesBeats, loginFilesChanged, type Standing } from '../../src/tunnel/config-change.ts';
import { heartbeatPlan } from '../../src/tunnel/heartbeat-plan.ts';
import { documentWith } from '../support/tunnels.ts';

const up: Standing = { state: 'Connected', reason: null, connected: true };
const waiting = (reason: Standing['reason']): Standing => ({ state: 'Waiting', reason, connected: false });
const before = documentWith();
const changed = { type: 'restart', why: 'changed' };
const inline = (text: string) => ({
  ...before,
  knownHosts: [{ slot: 'target', source: 'Inline', inline: text } as const],
});

it.each([
  ['nothing', before, up, null],
  ['forwards', { ...before, forwards: [] }, up, null],
  ['times', { ...before, retry: { ...before.retry, authMaxSeconds: 9 } }, up, null],
  ['the host', { ...before, ssh: { ...before.ssh, host: 'other' } }, up, changed],
  ['a jump host', { ...before, jumpHosts: [before.ssh] }, up, changed],
  ['an option, while it waits', { ...before, ssh: { ...before.ssh, user: 'other' } }, waiting('AuthFailed'), changed],
  [
    'a login',
    { ...before, identities: [{ slot: 'target', passphrase: false, certificate: true } as const] },
    up,
    changed,
  ],
  ['where host keys come from', inline('x'), up, changed],
  ['a suspension', { ...before, suspend: true }, up, { type: 'suspend' }],
  ['a wish to retry, while it is well', { ...before, retryToken: '1' }, up, null],
  ['a wish to retry', { ...before, retryToken: '1' }, waiting('ConnectionRefused'), { type: 'restart', why: 'asked' }],
])('what a change leads to: %s', (_about, after, standing, event) => {
  expect(changeBetween(before, after, standing)).toEqual(event);
});

it('takes new host keys within the configuration as it takes a new file', () => {
  expect(changeBetween(inline('x'), inline('y'), up)).toBeNull();
  expect(changeBetween(inline('x'), inline('y'), waiting('HostKeyChanged'))).toEqual(changed);
  expect(changeBetween(inline('x'), inline('y'), waiting('ConnectionRefused'))).toBeNull();
});

it('tries new logins at once only where a login is what it waits for; a server that is busy is left in peace', () => {
  const atOnce = REASONS.filter((reason) => loginFilesChanged(waiting(reason)) !== null);
  expect(atOnce).toContain('AuthFailed');
  expect(atOnce).toContain('IdentityMissing');
  expect(atOnce).toContain('HostKeyUnknown');
  for (const reason of ['ServerBusy', 'ConnectTimeout', 'RemotePortBusy'] as const)
    expect(atOnce).not.toContain(reason);
  for (const reason of REASONS) expect(loginFilesChanged({ ...up, reason })).toBeNull();
});

const local = { listen: { port: 5432 }, target: { host: 'db.internal', port: 5432 } };
const pg = [{ name: 'pg', local }];

it('knows what changes the beats', () => {
  const times = { periodMs: 5_000, timeoutMs: 3_000 };
  const before = { ...times, document: documentWith({ forwards: pg }) };
  expect(changesBeats(before, { ...before, document: documentWith({ forwards: pg }) })).toBe(false);
  expect(changesBeats(before, { ...before, periodMs: 1_000 })).toBe(true);
  expect(changesBeats(before, { ...before, timeoutMs: 1_000 })).toBe(true);
  for (const heartbeat of [
    { method: 'Ping' },
    { method: 'Echo', echoPort: 7 },
    { method: 'Echo', echoPort: 8 },
    { method: 'Forward', forward: 'pg' },
  ])
    expect(changesBeats(before, { ...before, document: documentWith({ forwards: pg, heartbeat }) })).toBe(true);
});

it('plans what a heartbeat is made of; a document without what its method needs gets Auto', () => {
  const document = documentWith({ forwards: pg, heartbeat: { method: 'Forward', forward: 'pg' } });
  expect(heartbeatPlan(document)).toEqual({ method: 'Forward', forward: 'pg', target: local.target });
  expect(heartbeatPlan({ ...document, forwards: [] })).toEqual({ method: 'Auto' });
  const { echoPort: _none, ...heartbeat } = { ...document.heartbeat, method: 'Echo' as const };
  expect(heartbeatPlan({ ...document, heartbeat })).toEqual({ method: 'Auto' });
});
