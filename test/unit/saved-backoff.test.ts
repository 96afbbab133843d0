import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { backoffFile } from '../../src/supervisor/backoff-file.ts';
import { decodeBackoff, encodeBackoff, MOST_SAVED_BYTES, type SavedBackoff } from '../../src/tunnel/saved-backoff.ts';
import { documentWith } from '../support/tunnels.ts';

const attempts = { network: 0, port: 1, auth: 3 };
const saved: SavedBackoff = { about: 'x', savedAt: 1_000_000, dueAt: 1_060_000, reason: 'AuthFailed', attempts };
const now = { about: 'x', unixMs: 1_010_000, authMaxSeconds: 300 };

describe('a saved backoff', () => {
  it('comes back as it was', () => {
    expect(decodeBackoff(encodeBackoff(saved), now)).toEqual(saved);
    expect(encodeBackoff({ ...saved, about: 'f'.repeat(64) }).length).toBeLessThan(MOST_SAVED_BYTES / 2);
  });

  it.each([
    ['of another connection', { about: 'y' }],
    ['too old', { unixMs: 1_300_001 }],
    ['from the future', { unixMs: 999_999 }],
  ])('says nothing when it is %s', (_about, other) => {
    expect(decodeBackoff(encodeBackoff(saved), { ...now, ...other })).toBeNull();
  });

  it('puts nothing off for longer than the longest pause', () => {
    expect(decodeBackoff(encodeBackoff({ ...saved, dueAt: 1e15 }), now)?.dueAt).toBe(1_300_000);
  });

  it.each([
    ['no reason of ours', { reason: 'Bored' }],
    ['a count that is none', { attempts: { ...attempts, auth: -1 } }],
    ['a missing count', { attempts: { network: 1 } }],
    ['a time that is none', { dueAt: 'soon' }],
    ['another version', { version: 2 }],
  ])('is not believed with %s', (_about, other) => {
    const text = JSON.stringify({ ...(JSON.parse(encodeBackoff(saved)) as object), ...other });
    expect(decodeBackoff(text, now)).toBeNull();
  });

  it('is never more than null, whatever the file holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.constant('x'.repeat(MOST_SAVED_BYTES + 1))), (text) => {
        expect(decodeBackoff(text, now)).toBeNull();
      }),
    );
  });
});

describe('its file', () => {
  const world = () => {
    const dir = mkdtempSync(join(tmpdir(), 'backoff-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const keys = mkdtempSync(join(dir, 'keys-'));
    writeFileSync(join(keys, 'key'), 'secret');
    return { dir, keys, key: join(keys, 'key'), path: join(dir, 'backoff.json'), file: backoffFile(dir, () => [keys]) };
  };
  const document = documentWith();
  const due = { dueAt: Date.now() + 60_000, reason: 'AuthFailed', attempts } as const;

  it('is read by the next supervisor of the same connection, and holds nothing secret', () => {
    const { dir, path, file } = world();
    expect(file.load(document)).toBeNull();
    file.save(document, due);
    file.save(document, due);
    expect(file.load(document)).toMatchObject(due);
    expect(readdirSync(dir).filter((name) => !name.startsWith('keys'))).toEqual(['backoff.json']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).not.toMatch(/secret|bastion/);
    file.clear();
    expect(file.load(document)).toBeNull();
  });

  it('does not count after another key, another server, or a wish to retry', () => {
    const { key, file } = world();
    file.save(document, due);
    expect(file.load({ ...document, ssh: { ...document.ssh, port: 23 } })).toBeNull();
    expect(file.load({ ...document, retryToken: 'now' })).toBeNull();
    expect(file.load({ ...document, forwards: [] })).toMatchObject(due);
    utimesSync(key, 1, 1);
    expect(file.load(document)).toBeNull();
  });

  it('is not looked for through a link, and stops nothing where it cannot be written', () => {
    const { path, file } = world();
    symlinkSync('/dev/zero', path);
    expect(file.load(document)).toBeNull();
    const nowhere = backoffFile('/nonexistent', () => ['/nonexistent']);
    nowhere.save(document, due);
    nowhere.clear();
    expect(nowhere.load(document)).toBeNull();
  });
});
