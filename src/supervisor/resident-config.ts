import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument, type TunnelDocument } from '../api/document.ts';
import { errorText } from '../api/field-error.ts';
import { MOUNT_ROOT, TUNNEL_VARIABLE } from '../api/mounts.ts';
import { pickResidentEnv, RESIDENT_ENV_NAMES } from '../api/resident-env.ts';
import { type ResidentSettings, residentSettings } from '../tunnel/resident-settings.ts';

/** Everything a resident supervisor runs on, with every default filled in. */
export type ResidentConfig = ResidentSettings & { readonly document: TunnelDocument };

export type ReadConfig =
  | { readonly ok: true; readonly config: ResidentConfig; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problem: string };

/** The longest text of a variable that is read from a file. */
const MOST_BYTES = 131_072;

/** Reads the configuration as it is now. */
export type ConfigReader = () => ReadConfig;

/**
 * A reader that follows the mounted ConfigMap also where it loses something. The environment is a copy of it from the start of the
 * container: a variable that was a file once and is none any more was taken away, and its old copy does not bring it back.
 */
export const createConfigReader = (
  env: Readonly<Record<string, string | undefined>>,
  root: string = MOUNT_ROOT,
): ConfigReader => {
  const current: Record<string, string | undefined> = { ...env };
  return () => {
    for (const name of Object.keys(readDirectory(join(root, 'config')))) current[name] = undefined;
    return readResidentConfig(current, root);
  };
};

/**
 * Reads the configuration: files of the mounted ConfigMaps and Secrets before the environment, since files follow a change and the
 * environment does not; spec.env (the tunnel's own ConfigMap) before envFrom, the later of those before the earlier. A variable that
 * makes no sense is left out with a warning; a document that makes none is a problem, since there is nothing to run.
 */
const readResidentConfig = (env: Readonly<Record<string, string | undefined>>, root: string): ReadConfig => {
  const own = readDirectory(join(root, 'config'));
  const text = own[TUNNEL_VARIABLE] ?? env[TUNNEL_VARIABLE];
  if (text === undefined)
    return {
      ok: false,
      problem: `expected the tunnel in ${join(root, 'config', TUNNEL_VARIABLE)} or in the variable ${TUNNEL_VARIABLE}; got neither: is the controller running?`,
    };
  const parsed = parseDocument(text);
  if (!parsed.ok) return { ok: false, problem: `${TUNNEL_VARIABLE}: ${parsed.errors.map(errorText).join('; ')}` };

  const sources = [env, ...envDirectories(root).map(readDirectory), own].map(pickResidentEnv);
  const { settings, problems } = residentSettings(parsed.value, sources);
  return { ok: true, config: { ...settings, document: parsed.value }, warnings: problems };
};

const envDirectories = (root: string): string[] => {
  try {
    return readdirSync(join(root, 'env'))
      .filter((name) => /^\d+$/.test(name))
      .sort((a, b) => Number(a) - Number(b))
      .map((name) => join(root, 'env', name));
  } catch {
    return [];
  }
};

/** A directory of one file per variable (envdir), of which only the closed list is looked at; what cannot be read is not there. */
const readDirectory = (dir: string): Record<string, string> =>
  Object.fromEntries(
    [TUNNEL_VARIABLE, ...RESIDENT_ENV_NAMES].flatMap((name) => {
      try {
        const text = readFileSync(join(dir, name), 'utf8');
        return text.length > MOST_BYTES ? [] : [[name, text.replace(/\n$/, '')]];
      } catch {
        return [];
      }
    }),
  );
