import { customResourceDefinition } from '../api/crd.ts';

type Json = Readonly<Record<string, unknown>>;

/** The names of the fields that an object of an SshTunnel may have at this path (`spec.forwards[1]`); empty where any may be. */
export const knownFields = (path: string): string[] => {
  let schema: Json | undefined = customResourceDefinition().spec.versions[0]?.schema.openAPIV3Schema;
  for (const part of path.split(/[.[]/).filter(Boolean))
    schema = (part.endsWith(']') ? schema?.['items'] : (schema?.['properties'] as Json | undefined)?.[part]) as
      | Json
      | undefined;
  return Object.keys((schema?.['properties'] ?? {}) as Json);
};
