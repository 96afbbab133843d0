import { documentOf } from '../api/hand-over.ts';
import { KIND } from '../api/names.ts';
import { type FieldError, parseSshTunnel } from '../api/parse.ts';
import { meet } from '../api/spec-rules.ts';
import type { SshTunnel } from '../api/ssh-tunnel.ts';
import { type DataObject, readDataObject } from './data-objects.ts';
import { documentLabel, type LocalDocument, readDocuments, type Source } from './documents.ts';
import { knownFields } from './known-fields.ts';
import { asLocal, type Given, type LocalFiles, type LookUp, localFiles } from './local-tunnel.ts';
import { expectation, shownValue, type Violation } from './violation.ts';

/** What the files are judged for: to be run on this machine, or to be applied to a cluster, where the rest may be there already. */
export type Purpose = 'run' | 'cluster';

/** A tunnel that can be run here. */
export type LocalTunnel = {
  /** Tells tunnels of one run apart: `namespace/name`, or `name`. */
  readonly id: string;
  readonly source: LocalDocument;
  readonly tunnel: SshTunnel;
  readonly files: LocalFiles;
};

export type Judged = {
  /** Those without a violation of their own. */
  readonly tunnels: readonly LocalTunnel[];
  /** All of them, by file and line. */
  readonly violations: readonly Violation[];
  /** Objects that are no affair of a tunnel, e.g. `Deployment/reports`. */
  readonly ignored: readonly string[];
};

/** Judges everything that was given, as the API server would and, to run it, beyond that: what it refers to, and listeners that meet. */
export const judge = (sources: readonly Source[], given: Given, purpose: Purpose): Judged => {
  const { documents, violations: unreadable } = readDocuments(sources);
  const of = (...kinds: string[]) => documents.filter(({ kind }) => kinds.includes(kind));
  const data = of('ConfigMap', 'Secret').map(readDataObject);
  const objects = data.map(({ object }) => object);
  const read = of(KIND).map((source) => judgeTunnel(source, objects, given, purpose));
  const tunnels = read.flatMap(({ tunnel }) => tunnel ?? []);
  const violations = [
    ...unreadable,
    ...data.flatMap((one) => one.violations),
    ...read.flatMap((one) => one.violations),
    ...sameNames(of(KIND, 'ConfigMap', 'Secret')),
    ...(purpose === 'run' ? clashes(tunnels) : []),
    ...(of(KIND).length === 0 && unreadable.length === 0 ? [noTunnel(sources)] : []),
  ];
  const others = documents.filter(({ kind }) => ![KIND, 'ConfigMap', 'Secret'].includes(kind));
  return { tunnels, violations: sorted(violations, sources), ignored: others.map(documentLabel) };
};

const judgeTunnel = (
  source: LocalDocument,
  objects: readonly DataObject[],
  given: Given,
  purpose: Purpose,
): { tunnel?: LocalTunnel; violations: Violation[] } => {
  // A status is the operator's, perhaps of another version.
  const { status: _, ...object } = source.object;
  const parsed = parseSshTunnel(object);
  if (!parsed.ok) return { violations: parsed.errors.map((error) => violationOf(source, error)) };
  const tunnel = asLocal(parsed.value);
  const lookUp: LookUp = (kind, name) => find(objects, kind, name, source.namespace)?.data;
  const { files, errors } = localFiles(tunnel, lookUp, given);
  const wanted = purpose === 'run' ? errors : errors.filter(({ problem }) => problem !== 'Not found');
  const id = source.namespace === '' ? source.name : `${source.namespace}/${source.name}`;
  if (wanted.length > 0) return { violations: wanted.map((error) => violationOf(source, error)) };
  return { tunnel: { id, source, tunnel, files }, violations: [] };
};

/** References are without namespace; an object that names none will be where the tunnel is. */
const find = (
  objects: readonly DataObject[],
  kind: string,
  name: string,
  namespace: string,
): DataObject | undefined => {
  const named = objects.filter(({ document }) => document.kind === kind && document.name === name);
  const inside = (other: string) => named.find(({ document }) => document.namespace === other);
  return inside(namespace) ?? inside('') ?? (namespace === '' ? named[0] : undefined);
};

const violationOf = (source: LocalDocument, error: FieldError): Violation => {
  const place = source.at(error.field);
  const unknown = error.problem === 'unknown field';
  const fields = unknown ? knownFields(error.field.replace(/(?:\.|^)[^.]+$/, '')) : [];
  return {
    file: source.file,
    line: place.line,
    column: place.column,
    document: documentLabel(source),
    field: error.field,
    problem: error.problem,
    ...(unknown && fields.length > 0 ? { expected: `one of the fields ${fields.join(', ')}` } : expectation(error)),
    // What an unknown field holds is not shown: somebody may have put a key there.
    got: unknown
      ? `an unknown field ${JSON.stringify(error.field.split('.').at(-1))}`
      : error.got?.includes('PRIVATE KEY')
        ? shownValue(error.got)
        : (error.got ?? shownValue(place.value)),
  };
};

const sameNames = (documents: readonly LocalDocument[]): Violation[] =>
  documents.flatMap((one, index) => {
    const same = ({ kind, name, namespace }: LocalDocument) =>
      kind === one.kind && name === one.name && namespace === one.namespace && name !== '';
    const first = documents.slice(0, index).find(same);
    if (first === undefined) return [];
    const error = { field: 'metadata.name', problem: 'Duplicate value', got: JSON.stringify(one.name) };
    const message = `expected a name that no other ${one.kind} has: ${first.file}:${first.at('metadata.name').line} has it`;
    return [violationOf(one, { ...error, message })];
  });

type Listener = {
  readonly owner: LocalTunnel;
  readonly field: string;
  readonly side: string;
  readonly place: { host?: string; port?: number; path?: string };
  readonly shown: string;
};

/** Where every forward listens: here for local and dynamic ones; at its server, as this user, for remote ones. */
const listeners = (owner: LocalTunnel): Listener[] => {
  const { ssh, forwards } = documentOf(owner.tunnel);
  return forwards.map(({ kind, name, listen }, index) => ({
    owner,
    field: `spec.forwards[${index}].${kind}.listen`,
    side: kind === 'remote' ? `${ssh.host}:${ssh.port}` : '',
    place: listen,
    shown: `forward "${name}" of tunnel "${owner.id}"`,
  }));
};

/** Of one tunnel the schema has judged them; here those of different tunnels, which will live on one machine. */
const clashes = (tunnels: readonly LocalTunnel[]): Violation[] => {
  const all = tunnels.flatMap(listeners);
  return all.flatMap((one, index) =>
    all
      .slice(0, index)
      .filter(({ owner, side, place }) => owner !== one.owner && side === one.side && meet(place, one.place))
      .map((other) =>
        violationOf(one.owner.source, {
          field: one.field,
          problem: 'Duplicate value',
          got: shownValue(one.place),
          message: `expected a place of its own on ${one.side === '' ? 'this machine' : one.side}: ${other.shown} listens there too`,
        }),
      ),
  );
};

const noTunnel = (sources: readonly Source[]): Violation => ({
  file: sources.map(({ file }) => file).join(', '),
  problem: 'Required value',
  expected: `at least one ${KIND}`,
  got: 'none',
});

const sorted = (violations: readonly Violation[], sources: readonly Source[]): Violation[] => {
  const order = new Map(sources.map(({ file }, index) => [file, index]));
  const rank = ({ file, line = 0, column = 0 }: Violation) => [order.get(file) ?? -1, line, column] as const;
  return violations.toSorted((a, b) => {
    const [left, right] = [rank(a), rank(b)];
    return left[0] - right[0] || left[1] - right[1] || left[2] - right[2];
  });
};
