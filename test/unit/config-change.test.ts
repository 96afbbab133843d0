import { expect, it } from 'vitest';
import { REASONS } from '../../src/api/reasons.ts';
import { changeBetween, loginFilesChanged, type Standing } from '../../src/tunnel/config-change.ts';
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
