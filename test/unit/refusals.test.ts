import { expect, it } from 'vitest';
import { noteRefusals } from '../../src/supervisor/refusals.ts';

const failed = (why: string) => `channel 3: open failed: ${why}`;

it('tell the first cause since they are watched: what comes later may be our own question about it', () => {
  const refusals = noteRefusals();
  refusals.note(failed('connect failed: before'));
  const cause = refusals.watch();
  expect(cause()).toBe(null);
  refusals.note('debug1: something else');
  refusals.note(failed('connect failed: No such file or directory'));
  refusals.note(failed('connect failed: Connection refused'));
  expect(cause()).toMatch(/No such file or directory/);
  for (let more = 0; more < 500; more++) refusals.note(failed('connect failed: of others'));
  expect(cause()).toMatch(/of others/);
});
