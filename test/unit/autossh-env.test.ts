import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AutosshSettings, DEFAULTS, parseAutosshEnv } from '../../src/tunnel/autossh-env.ts';

type Env = Record<string, string>;
const settingsOf = (env: Env): AutosshSettings => {
  const parsed = parseAutosshEnv(env);
  if (!parsed.ok) throw new Error(parsed.problem.text);
  return parsed.settings;
};

describe('the environment', () => {
  it.each<[Env, Partial<AutosshSettings>]>([
    [{}, {}],
    [{ HOME: '/root', AUTOSSH_NTSERVICE: 'yes' }, {}],
    [{ AUTOSSH_GATETIME: '0' }, { gateTime: 0 }],
    [{ AUTOSSH_GATETIME: '-0' }, { gateTime: 0 }],
    [{ AUTOSSH_GATETIME: ' 45' }, { gateTime: 45 }],
    [{ AUTOSSH_POLL: '30' }, { poll: 30, firstPoll: 30 }],
    [{ AUTOSSH_POLL: '0x1e' }, { poll: 30, firstPoll: 30 }],
    [{ AUTOSSH_POLL: '036' }, { poll: 30, firstPoll: 30 }],
    // A negative poll time is silently the default.
    [{ AUTOSSH_POLL: '-5' }, { poll: 600, firstPoll: 600 }],
    [{ AUTOSSH_FIRST_POLL: '10' }, { firstPoll: 10 }],
    [
      { AUTOSSH_FIRST_POLL: '-10', AUTOSSH_POLL: '30' },
      { firstPoll: 600, poll: 30 },
    ],
    [{ AUTOSSH_MAXSTART: '-1' }, { maxStart: -1 }],
    [{ AUTOSSH_MAXSTART: '0' }, { maxStart: 0 }],
    [{ AUTOSSH_MAXSTART: '10' }, { maxStart: 10 }],
    [{ AUTOSSH_MAXLIFETIME: '0' }, { maxLifetime: 0 }],
    [{ AUTOSSH_MAXLIFETIME: '-1' }, { maxLifetime: 0 }],
    [{ AUTOSSH_MAXLIFETIME: '3600' }, { maxLifetime: 3600 }],
    [{ AUTOSSH_MESSAGE: 'x'.repeat(64) }, { message: 'x'.repeat(64) }],
    [{ AUTOSSH_MESSAGE: '' }, { message: '' }],
    [{ AUTOSSH_PORT: '20000' }, { port: '20000' }],
    [{ AUTOSSH_PORT: '' }, { port: null }],
    [{ AUTOSSH_PATH: 'ssh' }, { path: 'ssh' }],
    [{ AUTOSSH_PIDFILE: '/run/a.pid' }, { pidFile: '/run/a.pid' }],
    [{ AUTOSSH_PIDFILE: '' }, { pidFile: null }],
    [{ AUTOSSH_LOGFILE: '/var/log/a' }, { logFile: '/var/log/a' }],
    [{ AUTOSSH_LOGLEVEL: '0' }, { logLevel: 0 }],
    [{ AUTOSSH_LOGLEVEL: '7' }, { logLevel: 7 }],
    [{ AUTOSSH_DEBUG: '' }, { logLevel: 7, debug: true }],
    // Under AUTOSSH_DEBUG the log level is not looked at.
    [
      { AUTOSSH_DEBUG: '0', AUTOSSH_LOGLEVEL: 'junk' },
      { logLevel: 7, debug: true },
    ],
  ])('%j', (env, expected) => expect(settingsOf(env)).toEqual({ ...DEFAULTS, ...expected }));

  it.each<[Env, string]>([
    // The words of 1.4g, to the byte; what was expected follows.
    [{ AUTOSSH_GATETIME: '-1' }, 'invalid gate time "-1"'],
    [{ AUTOSSH_GATETIME: '' }, 'invalid gate time ""'],
    [{ AUTOSSH_GATETIME: '5s' }, 'invalid gate time "5s"'],
    [{ AUTOSSH_GATETIME: '1.5' }, 'invalid gate time "1.5"'],
    [{ AUTOSSH_POLL: '0' }, 'invalid poll time "0"'],
    [{ AUTOSSH_POLL: '4294967296' }, 'invalid poll time "4294967296"'],
    [{ AUTOSSH_POLL: 'soon' }, 'invalid poll time "soon"'],
    [{ AUTOSSH_POLL: '' }, 'invalid poll time ""'],
    [{ AUTOSSH_FIRST_POLL: '0' }, 'invalid first poll time "0"'],
    [{ AUTOSSH_FIRST_POLL: '1m' }, 'invalid first poll time "1m"'],
    [{ AUTOSSH_MAXSTART: '-2' }, 'invalid max start number "-2"'],
    [{ AUTOSSH_MAXSTART: 'x' }, 'invalid max start number "x"'],
    [{ AUTOSSH_MAXSTART: '' }, 'invalid max start number ""'],
    [{ AUTOSSH_MAXLIFETIME: 'x' }, 'invalid max lifetime "x"'],
    [{ AUTOSSH_MAXLIFETIME: '' }, 'invalid max lifetime ""'],
    [{ AUTOSSH_LOGLEVEL: '8' }, 'invalid log level "8"'],
    [{ AUTOSSH_LOGLEVEL: '-1' }, 'invalid log level "-1"'],
    [{ AUTOSSH_LOGLEVEL: '' }, 'invalid log level ""'],
    [{ AUTOSSH_LOGLEVEL: 'info' }, 'invalid log level "info"'],
    [{ AUTOSSH_MESSAGE: 'x'.repeat(65) }, 'echo message may only be 64 bytes long'],
    // Bytes, not letters.
    [{ AUTOSSH_MESSAGE: 'ä'.repeat(33) }, 'echo message may only be 64 bytes long'],
    [{ AUTOSSH_PATH: '' }, 'invalid path ""'],
    // The first bad one, in 1.4g's order.
    [{ AUTOSSH_MAXSTART: 'x', AUTOSSH_POLL: 'y', AUTOSSH_LOGLEVEL: 'z' }, 'invalid log level "z"'],
    [{ AUTOSSH_MAXSTART: 'x', AUTOSSH_GATETIME: 'y' }, 'invalid gate time "y"'],
  ])('refuses %j', (env, words) => {
    const parsed = parseAutosshEnv(env);
    if (parsed.ok) throw new Error(`expected a problem, got ${JSON.stringify(parsed.settings)}`);
    expect(parsed.problem.level).toBe(3);
    expect(parsed.problem.text.slice(0, words.length)).toBe(words);
    expect(parsed.problem.text).toMatch(/expected|has \d+$/);
  });

  it('shrinks the poll times to the lifetime, and says so', () => {
    const parsed = parseAutosshEnv({ AUTOSSH_MAXLIFETIME: '60', AUTOSSH_POLL: '100' });
    expect(parsed).toMatchObject({ ok: true, settings: { poll: 60, firstPoll: 60, maxLifetime: 60 } });
    expect(parsed.ok && parsed.notes).toEqual([
      { level: 6, text: 'poll time is greater than lifetime, dropping poll time to 60' },
      { level: 6, text: 'first poll time is greater than lifetime, dropping first poll time to 60' },
    ]);
    expect(parseAutosshEnv({ AUTOSSH_MAXLIFETIME: '600' })).toMatchObject({ notes: [] });
  });

  it('never throws, and never lets a number through that makes no sense', () => {
    const name = fc.constantFrom('POLL', 'FIRST_POLL', 'GATETIME', 'MAXSTART', 'MAXLIFETIME', 'LOGLEVEL', 'MESSAGE');
    const text = fc.oneof(fc.string(), fc.bigInt({ min: -(1n << 70n), max: 1n << 70n }).map(String));
    fc.assert(
      fc.property(
        fc.dictionary(
          name.map((one) => `AUTOSSH_${one}`),
          text,
        ),
        (env) => {
          const parsed = parseAutosshEnv(env);
          if (!parsed.ok) {
            expect(parsed.problem.text).not.toBe('');
            return;
          }
          const { poll, firstPoll, gateTime, maxStart, maxLifetime, logLevel } = parsed.settings;
          expect(Math.min(poll, firstPoll)).toBeGreaterThan(0);
          expect(Math.min(gateTime, maxLifetime, logLevel, maxStart + 1)).toBeGreaterThanOrEqual(0);
          expect(logLevel).toBeLessThanOrEqual(7);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
