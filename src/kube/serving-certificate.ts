import { randomBytes, X509Certificate } from 'node:crypto';
import { isAlreadyExists, isConflict, isNotFound, reasonOf } from './api-error.ts';
import { BACKDATE_MS, type CertificateData, planCertificates } from './certificate-plan.ts';
import { issueServing, makeAuthority, type Pair } from './certificates.ts';
import type { KubeClient } from './client.ts';
import { type Clock, systemClock } from './clock.ts';
import { createController, source } from './controller.ts';
import { createInformer } from './informer.ts';
import { type Log, silent } from './log.ts';
import { type Meter, unmetered } from './meter.ts';
import type { KubeObject, ObjectMeta } from './object.ts';
import { type Resource, SECRETS } from './resource.ts';

export type ServingCertificateOptions = {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Of type kubernetes.io/tls, with the authority beside it. */
  readonly secretName: string;
  /** `autossh-operator.autossh-system.svc` and its longer form. */
  readonly dnsNames: readonly string[];
  /** Whose caBundle is kept: MUTATING_WEBHOOKS or VALIDATING_WEBHOOKS with a name. One that does not exist is waited for. */
  readonly webhooks: readonly { readonly resource: Resource; readonly name: string }[];
  readonly fieldManager: string;
  /** Called with the first certificate and each that follows. */
  readonly onCertificate: (pair: Pair) => void;
  /** Default 90. */
  readonly servingDays?: number;
  /** Default 1,825. */
  readonly authorityDays?: number;
  /** How often to look although nothing changed. Default 600,000. */
  readonly checkMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly meter?: Meter;
};

type Secret = KubeObject & { readonly type?: string; readonly data?: Readonly<Record<string, string>> };
type WebhookConfiguration = KubeObject & {
  readonly webhooks?: readonly { readonly name: string; readonly clientConfig?: { readonly caBundle?: string } }[];
};

const DAY_MS = 86_400_000;
const KEYS = ['ca.crt', 'ca.key', 'tls.crt', 'tls.key'] as const;

/**
 * Keeps a webhook's serving certificate without cert-manager: in a Secret that all replicas share, made by whoever comes first
 * (compare-and-swap), rotated in time, its authority patched into the webhook configurations, and handed to the server at once when
 * somebody else changed it. Runs in every replica.
 */
export const createServingCertificate = (options: ServingCertificateOptions) => {
  const { client, namespace, secretName, dnsNames, fieldManager, onCertificate, checkMs = 600_000 } = options;
  const { servingDays = 90, authorityDays = 1825 } = options;
  const { clock = systemClock, log = silent, meter = unmetered } = options;
  const place = { namespace, name: secretName };
  let told = '';
  /** Of the Secret as last seen: one that has to be made anew is the chart's again, and goes when the release goes. */
  let marks: Pick<ObjectMeta, 'labels' | 'annotations'> = {};

  const validity = (days: number) => {
    const now = clock.date().getTime();
    return { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + days * DAY_MS) };
  };

  /** The Secret's data as it should be; the very same when nothing has to change. */
  const renew = async (old: Partial<CertificateData>): Promise<Partial<CertificateData>> => {
    const plan = planCertificates(old, dnsNames, clock.date());
    if (!plan.makeAuthority && !plan.issueServing) return old;
    let data = old;
    let authority: Pair = { cert: String(plan.authority), key: old['ca.key'] ?? '' };
    if (plan.makeAuthority) {
      // A name of its own: verifiers look for an issuer by name first.
      const id = randomBytes(4).toString('hex');
      authority = await makeAuthority(`${secretName}-ca-${id}`, validity(authorityDays));
      data = { ...data, 'ca.crt': [authority.cert, ...plan.trusted.map(String)].join(''), 'ca.key': authority.key };
    }
    if (plan.issueServing) {
      const { cert, key } = await issueServing(authority, dnsNames, validity(servingDays));
      data = { ...data, 'tls.crt': cert, 'tls.key': key };
    }
    log('info', 'certificate renewed', {
      secret: secretName,
      authority: plan.makeAuthority,
      serving: plan.issueServing,
    });
    return data;
  };

  /** Undefined: somebody else wrote at the same time; look again. */
  const keepSecret = async (signal?: AbortSignal): Promise<Partial<CertificateData> | undefined> => {
    const secret = await client.get<Secret>(SECRETS, place, { signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (secret !== undefined) marks = marksOf(secret.metadata);
    const old = decode(secret?.data ?? {});
    const data = await renew(old);
    if (data === old) return data;
    const next = {
      ...(secret ?? { metadata: { ...place, ...marks }, type: 'kubernetes.io/tls' }),
      data: { ...secret?.data, ...encode(data) },
    };
    try {
      await (secret ? client.update(SECRETS, next, { signal }) : client.create(SECRETS, next, { signal }));
      return data;
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return undefined;
      throw error;
    }
  };

  const keepBundle = async (
    { resource, name }: { resource: Resource; name: string },
    bundle: string,
    signal?: AbortSignal,
  ) => {
    const found = await client.get<WebhookConfiguration>(resource, { name }, { signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    const caBundle = Buffer.from(bundle).toString('base64');
    if (!found?.webhooks?.some((webhook) => webhook.clientConfig?.caBundle !== caBundle)) return;
    const webhooks = found.webhooks.map((webhook) => ({ name: webhook.name, clientConfig: { caBundle } }));
    // By uid: an apply must not bring a configuration back that was deleted a moment ago.
    const metadata = { name, ...(found.metadata.uid === undefined ? {} : { uid: found.metadata.uid }) };
    await client.apply<WebhookConfiguration>(resource, { metadata, webhooks }, { fieldManager, force: true, signal });
    log('info', 'caBundle patched', { kind: resource.kind, name });
  };

  const putRight = async (signal?: AbortSignal): Promise<Pair> => {
    let data = await keepSecret(signal);
    while (data === undefined) {
      signal?.throwIfAborted();
      data = await keepSecret(signal);
    }
    // First trusted, then served.
    for (const webhook of options.webhooks) await keepBundle(webhook, data['ca.crt'] ?? '', signal);
    const pair = { cert: data['tls.crt'] ?? '', key: data['tls.key'] ?? '' };
    if (told !== pair.cert) {
      onCertificate(pair);
      told = pair.cert;
      const seconds = Date.parse(new X509Certificate(pair.cert).validTo) / 1000;
      meter.set('kube_certificate_expiry_timestamp_seconds', { secret: secretName }, seconds);
    }
    return pair;
  };

  /** Looks once and puts right what is not. Resolves with the certificate in force; failures are counted and thrown. */
  const ensure = async (signal?: AbortSignal): Promise<Pair> => {
    try {
      return await putRight(signal);
    } catch (error) {
      if (!signal?.aborted) meter.count('kube_certificate_errors_total', { reason: reasonOf(error) });
      throw error;
    }
  };

  return {
    ensure,
    /** Goes on doing so until the signal is aborted; failures are logged and retried. Never rejects. */
    run: async (signal: AbortSignal): Promise<void> => {
      const watched = [{ resource: SECRETS, ...place }, ...options.webhooks];
      const informers = watched.map(({ name, ...where }) =>
        createInformer({ client, clock, log, meter, ...where, fieldSelector: `metadata.name=${name}` }),
      );
      const controller = createController({
        name: 'serving-certificate',
        sources: informers.map((informer) => source(informer, { keysOf: () => [secretName] })),
        reconcile: async (_key, context) => {
          await ensure(context.signal);
          return { requeueAfterMs: checkMs };
        },
        clock,
        log,
        meter,
      });
      controller.enqueue(secretName);
      await Promise.all([...informers.map((informer) => informer.run(signal)), controller.run(signal)]);
    },
  };
};

const marksOf = ({ labels, annotations }: ObjectMeta): Pick<ObjectMeta, 'labels' | 'annotations'> => ({
  ...(labels === undefined ? {} : { labels }),
  ...(annotations === undefined ? {} : { annotations }),
});

const decode = (data: Readonly<Record<string, string>>): Partial<CertificateData> =>
  Object.fromEntries(
    KEYS.flatMap((key) => (data[key] === undefined ? [] : [[key, Buffer.from(data[key], 'base64').toString()]])),
  );

const encode = (data: Partial<CertificateData>): Record<string, string> =>
  Object.fromEntries(
    KEYS.flatMap((key) => (data[key] === undefined ? [] : [[key, Buffer.from(data[key]).toString('base64')]])),
  );
