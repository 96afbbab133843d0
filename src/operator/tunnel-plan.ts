import { configMapData } from '../api/hand-over.ts';
import { errorText } from '../api/parse.ts';
import type { KubeObject } from '../kube/object.ts';
import { configHash } from './config-hash.ts';
import { notImplemented } from './not-implemented.ts';
import { readTunnel } from './read-tunnel.ts';

/** What an SshTunnel asks of the controller. */
export type TunnelPlan = { readonly suspended: boolean; readonly insecure: boolean } & (
  | { readonly refusal: { readonly reason: 'Invalid' | 'NotImplemented'; readonly message: string } }
  | {
      readonly refusal: null;
      /** Of its ConfigMap. */
      readonly data: Readonly<Record<string, string>>;
      /** Of that data. */
      readonly hash: string;
    }
);

const LONGEST_MESSAGE = 4096;

/**
 * Remembered as long as the object itself: objects of a cache are never changed, only replaced, and a tunnel whose pods are asked
 * every two seconds must not be parsed as often.
 */
export const planOf = (object: KubeObject): TunnelPlan => {
  const known = plans.get(object);
  if (known !== undefined) return known;
  const plan = makePlan(object);
  plans.set(object, plan);
  return plan;
};

const plans = new WeakMap<KubeObject, TunnelPlan>();

const makePlan = (object: KubeObject): TunnelPlan => {
  const parsed = readTunnel(object);
  if (!parsed.ok) {
    const message = parsed.errors.map(errorText).join('; ').slice(0, LONGEST_MESSAGE);
    return { suspended: false, insecure: false, refusal: { reason: 'Invalid', message } };
  }
  const { spec } = parsed.value;
  const about = { suspended: spec.suspend, insecure: spec.ssh.knownHosts.insecureSkipVerify === true };
  const missing = notImplemented(spec);
  if (missing.length > 0) {
    const message = `This version cannot do yet: ${missing.join(', ')}.`;
    return { ...about, refusal: { reason: 'NotImplemented', message } };
  }
  const data = configMapData(parsed.value);
  return { ...about, refusal: null, data, hash: configHash(data) };
};
