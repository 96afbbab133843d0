import type { X509Certificate } from 'node:crypto';
import { fits, parseBundle } from './certificates.ts';

/** What the Secret holds, PEM. `ca.crt` is a bundle: after a change of the authority the old one stays in it until it ends. */
export type CertificateData = {
  readonly 'ca.crt': string;
  readonly 'ca.key': string;
  readonly 'tls.crt': string;
  readonly 'tls.key': string;
};

export type CertificatePlan = {
  /** The certificates to go on trusting, the newest first. */
  readonly trusted: readonly X509Certificate[];
  /** The one whose key is there. */
  readonly authority: X509Certificate | undefined;
  readonly makeAuthority: boolean;
  readonly issueServing: boolean;
};

/** A new authority must have reached every caBundle and every API server before anything is signed by it alone. */
export const PROPAGATION_MS = 10 * 60_000;
/** Certificates begin this much before they are made: clocks differ. */
export const BACKDATE_MS = 60 * 60_000;

/**
 * Decides what has to be made anew. Renewed is what has less than a third of its life left, as cert-manager does it. The serving
 * certificate moves to a new authority only when that is known everywhere, or when there is nothing left to lose.
 */
export const planCertificates = (
  data: Partial<CertificateData>,
  dnsNames: readonly string[],
  now: Date,
): CertificatePlan => {
  const trusted = parseBundle(data['ca.crt'] ?? '').filter((authority) => authority.ca && isValid(authority, now));
  const authority = trusted.find((one) => fits(one, data['ca.key'] ?? ''));
  const serving = parseBundle(data['tls.crt'] ?? '')[0];
  const serves =
    serving !== undefined &&
    isValid(serving, now) &&
    fits(serving, data['tls.key'] ?? '') &&
    dnsNames.every((name) => serving.checkHost(name) !== undefined) &&
    trusted.some((one) => serving.checkIssued(one) && serving.verify(one.publicKey));
  if (authority === undefined || isOld(authority, now))
    return { trusted, authority, makeAuthority: true, issueServing: !serves };
  if (!serves) return { trusted, authority, makeAuthority: false, issueServing: true };
  const known = now.getTime() - begin(authority) - BACKDATE_MS >= PROPAGATION_MS;
  const moves = !serving.checkIssued(authority) || !serving.verify(authority.publicKey);
  return { trusted, authority, makeAuthority: false, issueServing: known && (moves || isOld(serving, now)) };
};

const begin = (certificate: X509Certificate): number => Date.parse(certificate.validFrom);
const end = (certificate: X509Certificate): number => Date.parse(certificate.validTo);

const isValid = (certificate: X509Certificate, now: Date): boolean =>
  begin(certificate) <= now.getTime() && now.getTime() < end(certificate);

const isOld = (certificate: X509Certificate, now: Date): boolean =>
  end(certificate) - now.getTime() < (end(certificate) - begin(certificate)) / 3;
