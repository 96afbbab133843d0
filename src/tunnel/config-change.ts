import type { TunnelDocument } from '../api/document.ts';
import type { Reason } from '../api/reasons.ts';
import { heartbeatPlan } from './heartbeat-plan.ts';
import type { Event, StateName } from './machine.ts';
import type { ResidentSettings } from './resident-settings.ts';

/** What a tunnel is doing when a change comes. */
export type Standing = {
  readonly state: StateName;
  /** Why it waits, if it does. */
  readonly reason: Reason | null;
  /** Bytes go round. */
  readonly connected: boolean;
};

/**
 * What a new configuration asks of the machine; null: nothing. Settings that are asked for at each decision (periods, limits, log level)
 * are not looked at here, nor are the forwards, which follow by themselves on the living connection.
 */
export const changeBetween = (
  before: TunnelDocument,
  after: TunnelDocument,
  standing: Standing,
): Extract<Event, { type: 'suspend' | 'resume' | 'restart' }> | null => {
  if (after.suspend !== before.suspend) return { type: after.suspend ? 'suspend' : 'resume' };
  if (connectionOf(after) !== connectionOf(before)) return { type: 'restart', why: 'changed' };
  if (after.retryToken !== before.retryToken && !standing.connected) return { type: 'restart', why: 'asked' };
  if (hostKeysOf(after) !== hostKeysOf(before)) return loginFilesChanged(standing);
  return null;
};

/** What a new key, certificate or known_hosts asks for: an attempt now, where the old ones are what is waited for; else nothing. */
export const loginFilesChanged = ({ state, reason }: Standing): { type: 'restart'; why: 'changed' } | null =>
  state === 'Waiting' && isLoginReason(reason) ? { type: 'restart', why: 'changed' } : null;

/** Whether other files could put it right. */
export const isLoginReason = (reason: Reason | null): boolean => reason !== null && LOGIN.has(reason);

const LOGIN: ReadonlySet<Reason> = new Set<Reason>([
  'AuthFailed',
  'IdentityMissing',
  'IdentityInvalid',
  'PassphraseWrong',
  'CertificateExpired',
  'HostKeyChanged',
  'HostKeyUnknown',
]);

/** What a living connection was made of: another one is needed when this changes. */
const connectionOf = ({ ssh, jumpHosts, identities, knownHosts }: TunnelDocument): string =>
  JSON.stringify([ssh, jumpHosts, identities, knownHosts.map(({ slot, source }) => [slot, source])]);

/** known_hosts that is part of the configuration is still known_hosts: a healthy connection has passed it. */
const hostKeysOf = ({ knownHosts }: TunnelDocument): string => JSON.stringify(knownHosts.map(({ inline }) => inline));

/** Whether beats are to be made otherwise from now on: another method, or other times. */
export const changesBeats = (before: BeatSettings, after: BeatSettings): boolean => beatsOf(before) !== beatsOf(after);

type BeatSettings = Pick<ResidentSettings, 'periodMs' | 'timeoutMs'> & { readonly document: TunnelDocument };
const beatsOf = ({ periodMs, timeoutMs, document }: BeatSettings): string =>
  JSON.stringify([periodMs, timeoutMs, heartbeatPlan(document)]);
