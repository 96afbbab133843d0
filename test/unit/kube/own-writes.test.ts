import { expect, it } from 'vitest';
import type { Handler } from '../../../src/kube/informer.ts';
import { rememberWrites } from '../../../src/kube/own-writes.ts';
import { createStore } from '../../../src/kube/store.ts';
import { createVirtualClock } from '../../support/kube/virtual-clock.ts';

type Thing = { metadata: { name: string; resourceVersion?: string } };

/** A cache, and the watch that tells of changes. */
const make = () => {
  const clock = createVirtualClock();
  const store = createStore<Thing>({});
  let handler: Handler<Thing> = {};
  const addHandler = (one: Handler<Thing>) => {
    handler = one;
    return () => {};
  };
  const own = rememberWrites<Thing>({ store, addHandler }, { clock, ttlMs: 1_000 });
  const at = (version: number | string): Thing => ({ metadata: { name: 'a', resourceVersion: String(version) } });
  const told = (version: number) => {
    const old = store.put(at(version));
    if (old === undefined) handler.add?.(at(version));
    else handler.update?.(at(version), old);
  };
  const toldEnd = (version: number) => {
    store.remove('a');
    handler.delete?.(at(version));
  };
  const version = () => own.get('a')?.metadata.resourceVersion;
  return { clock, store, wrote: (version: number | string) => own.wrote(at(version)), told, toldEnd, version };
};

it('has what was written until the watch tells of it', () => {
  const { wrote, told, version } = make();
  expect(version()).toBeUndefined();
  wrote(9);
  expect(version()).toBe('9');
  told(9);
  expect(version()).toBe('9');
  wrote(10);
  expect(version()).toBe('10');
  told(11);
  expect(version()).toBe('11');
});

it('is not led astray by a watch that is behind', () => {
  const { wrote, told, toldEnd, version } = make();
  told(7);
  wrote(10);
  told(8);
  expect(version()).toBe('10');
  // Of the one before, of the same name.
  toldEnd(9);
  expect(version()).toBe('10');
  told(10);
  expect(version()).toBe('10');
});

it('knows the end of what was written, once it is told', () => {
  const { wrote, told, toldEnd, version } = make();
  wrote(9);
  toldEnd(10);
  expect(version()).toBeUndefined();
  wrote(11);
  told(11);
  toldEnd(12);
  expect(version()).toBeUndefined();
});

it('believes in a write for a while only', async () => {
  const { clock, wrote, told, version } = make();
  told(7);
  wrote(9);
  await clock.advance(999);
  expect(version()).toBe('9');
  await clock.advance(1);
  expect(version()).toBe('7');
});

it('has what the watch says where versions are no numbers', () => {
  const { wrote, told, version } = make();
  told(7);
  wrote('v9');
  expect(version()).toBe('7');
});
