import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REASONS, type Reason } from '../../src/api/reasons.ts';
import { classify, type Ending, remoteForwardFailure } from '../../src/tunnel/failure.ts';
import { SOURCES } from '../fixtures/failure/sources.ts';

/** What record.ts writes. */
type Fixture = {
  case: string;
  about: string;
  exitCode: number | null;
  signal: string | null;
  connected: boolean;
  remoteForwardWorkedBefore: boolean;
  stderr: string[];
  expected: Reason;
};

const dir = join(import.meta.dirname, '../fixtures/failure');
const fixtures = readdirSync(dir)
  .filter((name) => name.startsWith('openssh-'))
  .flatMap((version) =>
    readdirSync(join(dir, version)).map((file) => {
      const fixture = JSON.parse(readFileSync(join(dir, version, file), 'utf8')) as Fixture;
      return { version, ...fixture };
    }),
  );

/** What no ssh says by itself, so that no fixture can: who says it instead. */
const NOT_SAID_BY_SSH: Partial<Record<Reason, string>> = {
  CertificateExpired: 'ssh says "Permission denied"; a look at the certificate before the start tells',
  HeartbeatLost: 'ssh runs on; the heartbeat tells',
};

const ending = (lines: readonly string[], more: Partial<Ending> = {}): Ending => ({
  ...{ lines, exitCode: 255, signal: null, connected: false, remoteForwardWorkedBefore: false },
  ...more,
});

describe('the reason of an end', () => {
  it('has fixtures to be judged by', () => {
    expect(fixtures.length).toBeGreaterThan(60);
  });

  it.each(fixtures)('$version $case: $expected', ({ expected, stderr, signal, ...fixture }) => {
    const { exitCode, connected, remoteForwardWorkedBefore } = fixture;
    const { reason, line } = classify({
      ...{ lines: stderr, exitCode, connected, remoteForwardWorkedBefore },
      signal: signal === null ? null : 9,
    });
    expect(reason).toBe(expected);
    // The line that is shown to a person is one of ssh's own.
    if (stderr.length > 0) expect(stderr).toContain(line);
  });

  it.each(SOURCES)('$from $file $in: $expected', ({ lines, connected, expected }) => {
    expect(classify(ending(lines, { connected: connected ?? false })).reason).toBe(expected);
  });

  it('is shown to be each one of the closed set', () => {
    const shown = new Set<Reason>([...fixtures, ...SOURCES].map(({ expected }) => expected));
    const missing = REASONS.filter((reason) => !shown.has(reason));
    expect(missing.sort()).toEqual(Object.keys(NOT_SAID_BY_SSH).sort());
  });

  it('is the signal that killed it, not what it complained of before', () => {
    const complaint = 'channel 2: open failed: connect failed: Connection refused';
    expect(classify({ ...ending([complaint], { connected: true }), exitCode: null, signal: 9 })).toEqual({
      reason: 'Killed',
      line: 'ended by signal 9',
    });
  });

  it('is one of the closed set, and its line one of ssh’s or the signal, whatever it says', () => {
    const known = [...fixtures.flatMap(({ stderr }) => stderr), ...SOURCES.flatMap(({ lines }) => lines)];
    const line = fc.oneof(
      fc.constantFrom(...known),
      fc.string({ unit: 'binary' }),
      fc.tuple(fc.constantFrom(...known), fc.string()).map(([words, more]) => words.slice(0, more.length * 4) + more),
    );
    const anything = fc.record({
      lines: fc.array(line, { maxLength: 60 }),
      exitCode: fc.option(fc.integer({ min: 0, max: 255 })),
      signal: fc.option(fc.integer({ min: 1, max: 64 })),
      connected: fc.boolean(),
      remoteForwardWorkedBefore: fc.boolean(),
    });
    fc.assert(
      fc.property(anything, (ending) => {
        const verdict = classify(ending);
        expect(REASONS).toContain(verdict.reason);
        expect(['', `ended by signal ${ending.signal}`, ...ending.lines]).toContain(verdict.line);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no time for a hostile line', () => {
    const long = [' ', '@', 'a: ', 'Load key "', 'x line 1', 'bind ['].map((piece) =>
      piece.repeat(4096 / piece.length),
    );
    const started = performance.now();
    classify(ending([...long, ...long]));
    // Linear work takes about a millisecond; a regular expression that runs away takes minutes.
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('is that of the last words, not of an earlier complaint', () => {
    const warning = 'bind [127.0.0.1]:5432: Address already in use';
    expect(classify(ending([warning, 'Timeout, server h not responding.'], { connected: true })).reason).toBe(
      'KeepAliveTimeout',
    );
    const identity = 'Warning: Identity file /k not accessible: No such file or directory.';
    expect(classify(ending([identity, 'ssh: connect to host h port 22: Connection refused'])).reason).toBe(
      'ConnectionRefused',
    );
  });
});

describe('a refused remote forward', () => {
  it.each([
    ['Error: remote port forwarding failed for listen port 8080', 8080],
    ['Warning: remote port forwarding failed for listen port 0', 0],
    ['Error: remote port forwarding failed for listen path /run/x', null],
    ['said: Error: remote port forwarding failed for listen port 8080', null],
    ['', null],
  ])('%s', (line, port) => expect(remoteForwardFailure(line)).toBe(port));
});
