import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { makeMemoryDirectory } from '../../src/supervisor/memory-directory.ts';

const made = () => {
  const directory = makeMemoryDirectory('autossh-test-memory-', 'shop/memory-directory');
  onTestFinished(() => rmSync(directory.path, { recursive: true, force: true }));
  return directory;
};

it('is made anew, for this user alone and claimed, where somebody has taken it away; one that is there is left as it is', () => {
  const { path, renew } = made();
  mkdirSync(join(path, 'kept'));
  renew();
  expect(existsSync(join(path, 'kept'))).toBe(true);
  rmSync(path, { recursive: true });
  renew();
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(existsSync(join(path, 'owner'))).toBe(true);
});

it('is not what somebody else has put in its place', () => {
  const { path, renew } = made();
  const elsewhere = mkdtempSync(join(tmpdir(), 'elsewhere-'));
  onTestFinished(() => rmSync(elsewhere, { recursive: true, force: true }));
  chmodSync(path, 0o777);
  expect(renew).toThrow(/expected .* to be a directory of this user alone/);
  rmSync(path, { recursive: true });
  symlinkSync(elsewhere, path);
  expect(renew).toThrow(/expected .* to be a directory of this user alone/);
});
