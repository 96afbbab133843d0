import type { TunnelDocument } from '../api/document.ts';
import { heartbeatPlan } from './heartbeat-plan.ts';
import type { ResidentSettings } from './resident-settings.ts';

/** What a new configuration asks of the tunnel that runs on the old one. */
export type ConfigChange = 'nothing' | 'suspend' | 'resume' | 'reconnect' | 'retry';

/** Settings that are asked for at each decision (periods, limits, log level) are in force without anything being done. */
export const changeBetween = (before: TunnelDocument, after: TunnelDocument): ConfigChange => {
  if (after.suspend !== before.suspend) return after.suspend ? 'suspend' : 'resume';
  if (connectionOf(after) !== connectionOf(before)) return 'reconnect';
  return after.retryToken === before.retryToken ? 'nothing' : 'retry';
};

/** Whether beats are to be made otherwise from now on: another method, or other times. */
export const changesBeats = (before: BeatSettings, after: BeatSettings): boolean => beatsOf(before) !== beatsOf(after);

type BeatSettings = Pick<ResidentSettings, 'periodMs' | 'timeoutMs'> & { readonly document: TunnelDocument };
const beatsOf = ({ periodMs, timeoutMs, document }: BeatSettings): string =>
  JSON.stringify([periodMs, timeoutMs, heartbeatPlan(document)]);

/** What a living connection was made of: another one is needed when this changes. */
const connectionOf = ({ ssh, jumpHosts, identities, knownHosts, forwards }: TunnelDocument): string =>
  JSON.stringify([ssh, jumpHosts, identities, knownHosts, forwards.map((one) => ({ ...one, probe: undefined }))]);
