import { type Document, LineCounter, parseAllDocuments, type YAMLError } from 'yaml';
import { type FieldPlace, fieldPlace, MOST_ALIASES } from './field-place.ts';
import type { Violation } from './violation.ts';

/** The text of a file, and the name to call it by. */
export type Source = { readonly file: string; readonly text: string };

/** One object of Kubernetes, and where each of its fields stands. */
export type LocalDocument = {
  readonly file: string;
  readonly object: Readonly<Record<string, unknown>>;
  readonly kind: string;
  readonly name: string;
  /** Empty where none is given. */
  readonly namespace: string;
  readonly at: (
    field: string,
  ) => Pick<FieldPlace, 'found' | 'value'> & { readonly line: number; readonly column: number };
};

/**
 * Reads every object of every file: several documents in a file, JSON, and the `List` that `kubectl get -o yaml` writes. What is no
 * YAML, or no object of Kubernetes, is a violation; nothing of the text is in it, since it might be a Secret's.
 */
export const readDocuments = (
  sources: readonly Source[],
): { readonly documents: readonly LocalDocument[]; readonly violations: readonly Violation[] } => {
  const read = sources.map(documentsOf);
  return { documents: read.flatMap((one) => one.documents), violations: read.flatMap((one) => one.violations) };
};

const documentsOf = ({ file, text }: Source) => {
  const lineCounter = new LineCounter();
  const position = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const violations: Violation[] = [];
  const documents: LocalDocument[] = [];
  const parsed = parseAllDocuments(text, { lineCounter, prettyErrors: false, merge: true, logLevel: 'silent' });
  for (const document of 'empty' in parsed ? [] : parsed) {
    const at = (offset: number) => ({ file, ...position(offset) });
    for (const error of document.errors) violations.push({ ...at(error.pos[0]), ...yamlProblem(error) });
    if (document.errors.length > 0 || document.contents === null) continue;
    const found = objectsOf(document);
    for (const { object, prefix } of found) {
      const place = (field: string) => {
        const { offset, ...rest } = fieldPlace(
          document,
          `${prefix}${prefix === '' || field === '' ? '' : '.'}${field}`,
        );
        return { ...rest, ...position(offset) };
      };
      if (isObject(object) && typeof object['kind'] === 'string' && typeof object['apiVersion'] === 'string')
        documents.push({ file, object, at: place, ...identityOf(object) });
      else
        violations.push({
          file,
          ...pick(place('')),
          problem: 'Invalid value',
          expected: 'an object of Kubernetes, with apiVersion and kind',
          got: isObject(object) ? 'an object without them' : 'something else',
        });
    }
  }
  return { documents, violations };
};

const pick = ({ line, column }: { line: number; column: number }) => ({ line, column });

const objectsOf = (document: Document): { object: unknown; prefix: string }[] => {
  let object: unknown;
  try {
    object = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch {
    return [{ object: undefined, prefix: '' }];
  }
  if (!isObject(object) || object['kind'] !== 'List' || !Array.isArray(object['items']))
    return [{ object, prefix: '' }];
  return object['items'].map((item: unknown, index) => ({ object: item, prefix: `items[${index}]` }));
};

const identityOf = (object: Readonly<Record<string, unknown>>) => {
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  const text = (value: unknown) => (typeof value === 'string' ? value : '');
  return { kind: text(object['kind']), name: text(metadata['name']), namespace: text(metadata['namespace']) };
};

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `SshTunnel/orders-db` */
export const documentLabel = ({ kind, name }: Pick<LocalDocument, 'kind' | 'name'>): string =>
  name === '' ? kind : `${kind}/${name}`;

/** Errors whose words hold nothing of the text. */
const PLAIN_ERRORS: readonly string[] = [
  ...['BAD_INDENT', 'BLOCK_AS_IMPLICIT_KEY', 'BLOCK_IN_FLOW', 'DUPLICATE_KEY', 'KEY_OVER_1024_CHARS'],
  ...['MISSING_CHAR', 'MULTILINE_IMPLICIT_KEY', 'TAB_AS_INDENT'],
];

const yamlProblem = ({ code, message }: YAMLError) => ({
  problem: 'YAML',
  expected: 'valid YAML',
  got: PLAIN_ERRORS.includes(code) ? `an error: ${message}` : `an error: ${code}`,
});
