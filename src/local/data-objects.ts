import { documentLabel, isObject, type LocalDocument } from './documents.ts';
import type { Violation } from './violation.ts';

/** A ConfigMap or Secret that was given beside the tunnels. */
export type DataObject = {
  readonly document: LocalDocument;
  readonly data: ReadonlyMap<string, Uint8Array>;
};

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * What a ConfigMap (data, binaryData) or a Secret (data in base64, stringData) holds, as the API server would take it. No value is ever
 * in a violation, also not of a ConfigMap: what it is for is not known here.
 */
export const readDataObject = (
  document: LocalDocument,
): { readonly object: DataObject; readonly violations: readonly Violation[] } => {
  const secret = document.kind === 'Secret';
  const data = new Map<string, Uint8Array>();
  const violations: Violation[] = [];
  const wrong = (field: string, expected: string, got: string) => {
    const { line, column } = document.at(field);
    const label = documentLabel(document);
    violations.push({
      file: document.file,
      line,
      column,
      document: label,
      field,
      problem: 'Invalid value',
      expected,
      got,
    });
  };
  const read = (member: string, base64: boolean) => {
    const entries = document.object[member];
    if (entries === undefined || entries === null) return;
    if (!isObject(entries)) return wrong(member, 'an object of texts', 'something else');
    for (const [key, value] of Object.entries(entries)) {
      const field = `${member}.${key}`;
      if (typeof value !== 'string') wrong(field, base64 ? 'a text in base64' : 'a text', kindOf(value));
      else if (!base64) data.set(key, Buffer.from(value));
      else if (BASE64.test(value.replace(/[\r\n]/g, ''))) data.set(key, Buffer.from(value, 'base64'));
      else
        wrong(
          field,
          'a text in base64 (plain text belongs in stringData)',
          `${value.length} characters of something else`,
        );
    }
  };
  if (document.name === '') wrong('metadata.name', 'a name', 'nothing');
  if (document.object['apiVersion'] !== 'v1') wrong('apiVersion', '"v1"', 'something else');
  read('data', secret);
  read(secret ? 'stringData' : 'binaryData', !secret);
  return { object: { document, data }, violations };
};

const kindOf = (value: unknown): string =>
  value === null || value === undefined
    ? 'nothing'
    : Array.isArray(value)
      ? 'a list'
      : `a value of type ${typeof value}`;
