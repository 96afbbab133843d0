import { describe, expect, it } from 'vitest';
import { residentSettings } from '../../src/tunnel/resident-settings.ts';
import { documentWith } from '../support/tunnels.ts';

const typed = documentWith({ heartbeat: { periodSeconds: 9 } });
const untyped = documentWith();
const settingsOf = (...args: Parameters<typeof residentSettings>) => residentSettings(...args).settings;

describe('settings of a resident tunnel', () => {
  it('have the documented defaults', () => {
    expect(residentSettings(untyped, [])).toEqual({
      settings: {
        method: 'Auto',
        periodMs: 5_000,
        firstBeatMs: 5_000,
        timeoutMs: 3_000,
        failureThreshold: 2,
        livenessDeadlineMs: null,
        provenMs: 30_000,
        maxLifetimeMs: null,
        retry: { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 },
        message: '',
        logLevel: 6,
      },
      problems: [],
    });
  });

  it.each([
    [
      'the typed period wins over every AUTOSSH_POLL',
      typed,
      [{ AUTOSSH_POLL: '7' }],
      { periodMs: 9_000, firstBeatMs: 9_000 },
    ],
    [
      'AUTOSSH_POLL counts where there is no typed one',
      untyped,
      [{ AUTOSSH_POLL: '7' }],
      { periodMs: 7_000, firstBeatMs: 7_000 },
    ],
    ['the later source wins', untyped, [{ AUTOSSH_POLL: '7' }, { AUTOSSH_POLL: '8' }], { periodMs: 8_000 }],
    [
      'AUTOSSH_FIRST_POLL counts by itself',
      typed,
      [{ AUTOSSH_FIRST_POLL: '1' }],
      { periodMs: 9_000, firstBeatMs: 1_000 },
    ],
    ['AUTOSSH_GATETIME=0: every connection is proven', untyped, [{ AUTOSSH_GATETIME: '0' }], { provenMs: 0 }],
    ['AUTOSSH_MAXLIFETIME=0 is never', untyped, [{ AUTOSSH_MAXLIFETIME: '0' }], { maxLifetimeMs: null }],
    ['AUTOSSH_MAXLIFETIME', untyped, [{ AUTOSSH_MAXLIFETIME: '3600' }], { maxLifetimeMs: 3_600_000 }],
    [
      'AUTOSSH_DEBUG wins over AUTOSSH_LOGLEVEL',
      untyped,
      [{ AUTOSSH_DEBUG: '', AUTOSSH_LOGLEVEL: '3' }],
      { logLevel: 7 },
    ],
    ['AUTOSSH_MESSAGE', untyped, [{ AUTOSSH_MESSAGE: 'hi there' }], { message: 'hi there' }],
  ] as const)('%s', (_what, document, sources, expected) => {
    expect(settingsOf(document, sources)).toMatchObject(expected);
  });

  it('a refused value counts as unset, is reported, and is not shown', () => {
    const { settings, problems } = residentSettings(untyped, [{ AUTOSSH_POLL: '7' }, { AUTOSSH_POLL: 'hunter2' }]);
    expect(settings.periodMs).toBe(7_000);
    expect(problems).toEqual([
      'AUTOSSH_POLL: expected a whole number of seconds, 1-9999; got 7 characters that are something else',
    ]);
  });
});
