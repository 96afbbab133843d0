import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { watchFiles } from '../../src/supervisor/watch-files.ts';
import { until } from '../support/until.ts';

const directory = () => {
  const dir = mkdtempSync(join(tmpdir(), 'watch-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};
const WATCH_FILES = resolve(import.meta.dirname, '../../src/supervisor/watch-files.ts');
/** Prints a snapshot of all that a process remembers which watches one directory. */
const REMEMBER = `
  import { pipeline } from 'node:stream/promises';
  import { getHeapSnapshot } from 'node:v8';
  const { watchFiles } = await import(process.argv[1]);
  const watched = watchFiles(() => [process.argv[2]], () => {});
  await pipeline(getHeapSnapshot(), process.stdout);
  watched.stop();
`;

it('remembers nothing of what it watches', () => {
  const dir = directory();
  const secret = Buffer.from(`key ${randomBytes(16).toString('hex')}`);
  writeFileSync(join(dir, 'a-name-to-be-found'), secret);
  const args = ['--input-type=module', '-e', REMEMBER, WATCH_FILES, dir];
  const snapshot = execFileSync(process.execPath, args, { maxBuffer: 2 ** 28 });
  // It is a snapshot, and texts are in it.
  expect(snapshot.includes(dir)).toBe(true);
  expect(snapshot.includes(secret)).toBe(false);
});

it('tells of what changes, also of an empty file that comes or goes', async () => {
  const dir = directory();
  const put = (name: string, text: string) => {
    writeFileSync(join(dir, '.next'), text);
    renameSync(join(dir, '.next'), join(dir, name));
  };
  mkdirSync(join(dir, 'not-a-file'));
  put('a', 'one');
  put('b', 'two');
  let changes = 0;
  const watched = watchFiles(
    () => [dir, join(dir, 'not-there')],
    () => changes++,
  );
  onTestFinished(watched.stop);
  put('a', 'onetwo');
  await until('the first change', () => changes === 1);
  rmSync(join(dir, 'b'));
  await until('the second', () => changes === 2);
  put('b', '');
  await until('the third: an empty file is none that is missing', () => changes === 3);
});

it('takes a name that leads nowhere for none: a volume that loses files is swapped first, and loses their names later', async () => {
  const dir = directory();
  mkdirSync(join(dir, '..old'));
  mkdirSync(join(dir, '..new'));
  for (const name of ['kept', 'gone']) {
    writeFileSync(join(dir, '..old', name), 'one');
    symlinkSync(join('..data', name), join(dir, name));
  }
  writeFileSync(join(dir, '..new', 'kept'), 'two');
  symlinkSync('..old', join(dir, '..data'));
  let changes = 0;
  let looks = 0;
  const directories = () => {
    looks++;
    return [dir];
  };
  const watched = watchFiles(directories, () => changes++);
  onTestFinished(watched.stop);
  symlinkSync('..new', join(dir, '..tmp'));
  renameSync(join(dir, '..tmp'), join(dir, '..data'));
  await until('the swap', () => changes > 0);
  const before = looks;
  rmSync(join(dir, 'gone'));
  await until('a look at what is left', () => looks > before);
  expect(changes).toBe(1);
});
