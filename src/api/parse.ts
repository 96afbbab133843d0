import { type FieldError, fieldErrorsOf, fieldPath, type Parsed, type Path, valueAt } from './field-error.ts';
import { type SshTunnel, sshTunnelSchema } from './ssh-tunnel.ts';

export { errorText, type FieldError, type Parsed } from './field-error.ts';

/**
 * Judges a whole SshTunnel (as read from YAML or from the API server) and fills in the defaults; the same verdict as the API server's
 * with the CRD, except for the rules about a change, which need the former object. All errors are reported, in the order of the schema.
 */
export const parseSshTunnel = (object: unknown): Parsed<SshTunnel> => {
  const result = sshTunnelSchema.safeParse(object);
  const errors = [...(result.success ? [] : fieldErrorsOf(result.error, object)), ...duplicates(object)];
  return result.success && errors.length === 0 ? { ok: true, value: result.data } : { ok: false, errors };
};

/** Keys of the lists that are maps to Kubernetes: it refuses the second of the same key. */
const LIST_MAPS: readonly { readonly path: Path; readonly keys: readonly string[] }[] = [
  { path: ['spec', 'forwards'], keys: ['name'] },
  { path: ['spec', 'sidecar', 'imagePullSecrets'], keys: ['name'] },
  { path: ['spec', 'gateway', 'podTemplate', 'spec', 'imagePullSecrets'], keys: ['name'] },
  { path: ['spec', 'workloads'], keys: ['kind', 'name'] },
];

const duplicates = (object: unknown): FieldError[] =>
  LIST_MAPS.flatMap(({ path, keys }) => {
    const list = valueAt(object, path);
    if (!Array.isArray(list)) return [];
    const seen = new Set<string>();
    return list.flatMap((item: unknown, index) => {
      const key = JSON.stringify(Object.fromEntries(keys.map((name) => [name, valueAt(item, [name])])));
      if (!seen.has(key)) {
        seen.add(key);
        return [];
      }
      const message = `another entry has the same ${keys.join(' and ')}: give this one its own`;
      return [{ field: fieldPath([...path, index]), problem: 'Duplicate value', got: key, message }];
    });
  });
