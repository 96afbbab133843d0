import { type Document, isAlias, isMap, isNode, isScalar, isSeq, type Node } from 'yaml';

/** Where a field stands in a YAML document. */
export type FieldPlace = {
  /** Offset into the text; of the nearest field above it, where the field itself is missing. */
  readonly offset: number;
  /** Whether the field itself is there. */
  readonly found: boolean;
  /** What it holds, as JavaScript; undefined where it is missing. */
  readonly value: unknown;
};

/** Finds a field by its path as Kubernetes writes it (`spec.forwards[1].name`); the names of keys may hold dots themselves. */
export const fieldPlace = (document: Document, field: string): FieldPlace => {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  let rest = field;
  while (rest !== '') {
    const next = below(resolved(document, node), rest);
    if (next === undefined) return { offset, found: false, value: undefined };
    offset = next.offset ?? offset;
    ({ node, rest } = next);
  }
  return { offset, found: true, value: isNode(node) ? toJS(document, node) : undefined };
};

type Below = { readonly node: unknown; readonly offset: number | undefined; readonly rest: string };

const below = (node: unknown, rest: string): Below | undefined => {
  if (isSeq(node)) {
    const found = /^\[(\d+)\]\.?/.exec(rest);
    const item: unknown = found === null ? undefined : node.items[Number(found[1])];
    return found === null || item === undefined
      ? undefined
      : { node: item, offset: startOf(item), rest: rest.slice(found[0].length) };
  }
  if (!isMap(node)) return undefined;
  const candidates = node.items
    .map(({ key, value }) => ({ key, value, name: isScalar(key) ? String(key.value) : '' }))
    .filter(({ name }) => name !== '' && rest.startsWith(name) && /^(?:$|[.[])/.test(rest.slice(name.length)))
    .sort((a, b) => b.name.length - a.name.length);
  const [pair] = candidates;
  return pair === undefined
    ? undefined
    : { node: pair.value, offset: startOf(pair.key), rest: rest.slice(pair.name.length).replace(/^\./, '') };
};

const resolved = (document: Document, node: unknown): unknown => (isAlias(node) ? node.resolve(document) : node);
const startOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined);

const toJS = (document: Document, node: Node): unknown => {
  try {
    return node.toJS(document, { maxAliasCount: MOST_ALIASES });
  } catch {
    return undefined;
  }
};

/** Beyond this a document is made to be large, not to be read. */
export const MOST_ALIASES = 100;
