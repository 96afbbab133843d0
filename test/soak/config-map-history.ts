import type { KubeClient } from '../../src/kube/client.ts';
import { createInformer } from '../../src/kube/informer.ts';
import { CONFIG_MAPS } from '../../src/kube/resource.ts';
import { configHash } from '../../src/operator/config-hash.ts';
import type { Stored } from './why-missed.ts';

/** Follows the contents of each ConfigMap of a namespace, one after the other, as far as a watch shows them, until the signal. */
export const followConfigMaps = (client: KubeClient, namespace: string, signal: AbortSignal) => {
  const versions = createInformer<Stored>({ client, resource: CONFIG_MAPS, namespace });
  const contents = new Map<string, string[]>();
  const note = ({ metadata, data = {} }: Stored) => {
    const name = metadata.name ?? '';
    contents.set(name, [...(contents.get(name) ?? []), configHash(data)]);
  };
  versions.addHandler({ add: note, update: note });
  return {
    /** Names of those that were written again with the same content. */
    rewritten: (): string[] =>
      [...contents]
        .filter(([, hashes]) => hashes.some((hash, index) => hash === hashes[index + 1]))
        .map(([name]) => name),
    /** Resolves when the watch has ended. */
    ended: versions.run(signal),
  };
};
