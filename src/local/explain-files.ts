import type { Slot, TunnelDocument } from '../api/document.ts';
import { type TunnelVolume, volumesOf } from '../api/hand-over.ts';
import { SLOT_FILES } from '../api/mounts.ts';
import type { LoginFiles, Places } from '../tunnel/ssh-args.ts';
import type { LocalTunnel } from './judge.ts';
import type { Given } from './local-tunnel.ts';
import { shellQuote } from './shell-quote.ts';

/** Where the files of a tunnel are for somebody who runs its ssh by hand. */
export type ExplainedFiles = {
  readonly places: Places;
  /** Lines for a shell that make them, or comments that say what belongs there. */
  readonly lines: readonly string[];
};

/**
 * Files that were named on the command line are used as they are; the others get a name below `dir`. Host keys are public and are
 * written out, unless they lie in a Secret; a key is never.
 */
export const explainFiles = (
  document: TunnelDocument,
  local: LocalTunnel,
  given: Given,
  dir: string,
): ExplainedFiles => {
  const volumes = new Map(volumesOf(local.tunnel).map((volume) => [volume.name, volume]));
  const logins: Partial<Record<Slot, LoginFiles>> = {};
  const knownHosts: Partial<Record<Slot, string>> = {};
  const lines: string[] = [];

  for (const { slot, certificate } of document.identities) {
    const named =
      given.identity?.key === local.files.get(`identity/${slot}/${SLOT_FILES.key}`) ? given.identity : undefined;
    const identityFile = named?.path ?? `${dir}/${slot}.key`;
    const certificateFile = `${identityFile}-cert.pub`;
    logins[slot] = { identityFile, ...(certificate ? { certificateFile } : {}) };
    const volume = volumes.get(`identity-${slot}`);
    if (named !== undefined || volume === undefined) continue;
    lines.push(...fetched(volume, SLOT_FILES.key, identityFile), `# chmod 600 ${shellQuote(identityFile)}`);
    if (certificate) lines.push(...fetched(volume, SLOT_FILES.certificate, certificateFile));
  }
  for (const { slot, source, inline } of document.knownHosts) {
    if (source === 'Insecure') continue;
    const content = local.files.get(`known-hosts/${slot}/${SLOT_FILES.knownHosts}`);
    const named = content !== undefined && given.knownHosts?.lines === content ? given.knownHosts : undefined;
    const path = named?.path ?? `${dir}/${slot}.known_hosts`;
    knownHosts[slot] = path;
    const volume = volumes.get(`known-hosts-${slot}`);
    const text = inline ?? (content === undefined ? undefined : Buffer.from(content).toString('utf8'));
    if (named !== undefined) continue;
    if (text !== undefined && volume?.kind !== 'Secret') lines.push(...hereDocument(path, text));
    else if (volume !== undefined) lines.push(...fetched(volume, SLOT_FILES.knownHosts, path));
  }
  return { places: { logins, knownHosts, configFile: `${dir}/ssh_config` }, lines };
};

/** A file as a shell writes it, whatever is in it. */
export const hereDocument = (path: string, text: string): string[] => {
  const content = text.replace(/\n+$/, '').split('\n');
  let end = 'END';
  while (content.includes(end)) end = `${end}_`;
  return [`cat > ${shellQuote(path)} <<'${end}'`, ...content, end];
};

const fetched = ({ kind, objectName, items }: TunnelVolume, file: string, path: string): string[] => {
  const key = items.find((item) => item.path === file)?.key ?? '';
  const value = kind === 'Secret' ? `{{index .data "${key}" | base64decode}}` : `{{index .data "${key}"}}`;
  const command = `kubectl get ${kind.toLowerCase()} ${objectName} -o go-template='${value}'`;
  return [`# ${kind} "${objectName}", key "${key}", belongs in ${path}:`, `# ${command} > ${shellQuote(path)}`];
};
