import { createReadStream, statSync } from 'node:fs';
import type { Inputs } from './load.ts';
import { MOST_BYTES, STDIN } from './read-sources.ts';

/** What came by pipes, by the name that was given for each. */
export type Streams = ReadonlyMap<string, Uint8Array>;

/**
 * Reads what gives its content only once: `-`, which is standard input, and what is neither a file nor a directory, as `<(command)` of a
 * shell. Of what never ends only a little more is read than is taken. What cannot be read is left out, and told when it is used.
 */
export const readStreams = async ({ files, identity = '', knownHosts = '' }: Inputs): Promise<Streams> => {
  const streams = new Map<string, Uint8Array>();
  const paths = [...files, identity, knownHosts].filter((path) => path !== STDIN && isStream(path));
  if (files.includes(STDIN)) streams.set(STDIN, await readUpTo(process.stdin));
  for (const path of new Set(paths))
    try {
      streams.set(path, await readUpTo(createReadStream(path)));
    } catch {
      // Whoever looks for it says why it is not there.
    }
  return streams;
};

const isStream = (path: string): boolean => {
  try {
    const found = statSync(path);
    return !found.isFile() && !found.isDirectory();
  } catch {
    return false;
  }
};

const readUpTo = async (stream: AsyncIterable<Uint8Array | string>): Promise<Uint8Array> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(Buffer.from(chunk as Uint8Array));
    bytes += chunk.length;
    if (bytes > MOST_BYTES) break;
  }
  return Buffer.concat(chunks);
};
