import type { Slot } from './document.ts';

/** The variable, and the key of the ConfigMap, that holds the document. */
export const TUNNEL_VARIABLE = 'AUTOSSH_TUNNEL';
/** Where the files of a tunnel are mounted in its container. */
export const MOUNT_ROOT = '/etc/autossh';
/** Names of the files in the directory of a slot. */
export const SLOT_FILES = {
  key: 'key',
  passphrase: 'passphrase',
  certificate: 'certificate',
  knownHosts: 'known_hosts',
} as const;

export const identityDir = (slot: Slot): string => `${MOUNT_ROOT}/identity/${slot}`;
export const knownHostsDir = (slot: Slot): string => `${MOUNT_ROOT}/known-hosts/${slot}`;
