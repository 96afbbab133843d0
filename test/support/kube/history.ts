import { expect } from 'vitest';
import type { KubeClient } from '../../../src/kube/client.ts';
import type { Informer } from '../../../src/kube/informer.ts';
import { type KubeObject, keyOf } from '../../../src/kube/object.ts';
import { CONFIG_MAPS } from '../../../src/kube/resource.ts';

const GONE = 'gone';

/** Per object the resourceVersions it had, one after the other; `gone` where it was deleted. */
type History = Map<string, string[]>;

/** ConfigMaps of one label, written one change after the other, and what the server made of it. */
export const createWriter = (client: KubeClient, label: string) => {
  const written: History = new Map();
  const note = (name: string, version: string) => written.set(name, [...(written.get(name) ?? []), version]);
  let count = 0;
  return {
    written,
    put: async (name: string): Promise<void> => {
      const metadata = { name: `${label}-${name}`, namespace: 'default', labels: { test: label } };
      const object: KubeObject & { data: object } = { metadata, data: { count: String(++count) } };
      const { metadata: now } = await client.apply(CONFIG_MAPS, object, { fieldManager: 'test', force: true });
      note(`default/${now.name}`, now.resourceVersion ?? '');
    },
    remove: async (name: string): Promise<void> => {
      await client.delete(CONFIG_MAPS, { name: `${label}-${name}`, namespace: 'default' });
      note(`default/${label}-${name}`, GONE);
    },
  };
};

/** What an informer tells, in the same form; what must never be told is collected as faults. */
export const listenTo = (informer: Informer<KubeObject>) => {
  const told: History = new Map();
  const faults: string[] = [];
  const last = (key: string) => told.get(key)?.at(-1) ?? GONE;
  const note = (what: string, key: string, version: string) => {
    const before = last(key);
    const isLater = before === GONE || version === GONE || BigInt(version) > BigInt(before);
    if (!isLater || (what === 'add') !== (before === GONE)) faults.push(`${what} ${key} ${version} after ${before}`);
    told.set(key, [...(told.get(key) ?? []), version]);
  };
  informer.addHandler({
    add: (object) => note('add', keyOf(object), object.metadata.resourceVersion ?? ''),
    update: (object, old) => {
      if (old.metadata.resourceVersion !== last(keyOf(object))) faults.push(`update of ${keyOf(old)} from another`);
      note('update', keyOf(object), object.metadata.resourceVersion ?? '');
    },
    delete: (object) => note('delete', keyOf(object), GONE),
  });
  return { told, faults };
};

/** Whether the last state of every object was told. */
export const isUpToDate = (told: History, written: History): boolean =>
  [...written].every(([key, versions]) => (told.get(key)?.at(-1) ?? GONE) === versions.at(-1));

/** Nothing missed, nothing doubled: of each object, from the first state that was told on, every one that the server had, in order. */
export const expectToldOnce = (
  { told, faults }: ReturnType<typeof listenTo>,
  written: History,
  { fromTheFirst }: { fromTheFirst: boolean },
): void => {
  expect(faults).toEqual([]);
  const expected = [...written].map(([key, versions]) => {
    const count = fromTheFirst ? versions.length : (told.get(key)?.length ?? 0);
    return [key, versions.slice(versions.length - count)] as const;
  });
  expect(new Map(told)).toEqual(new Map(expected.filter(([, versions]) => versions.length > 0)));
  expect(isUpToDate(told, written)).toBe(true);
};
