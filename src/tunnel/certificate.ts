import type { Failure } from './machine.ts';

/** What counts of a user certificate for a login. Times are Unix milliseconds. */
export type Certificate = {
  readonly isForUsers: boolean;
  /** Of the key that is certified: `SHA256:…`. */
  readonly fingerprint: string;
  readonly validFrom: number;
  readonly validUntil: number;
  readonly principals: readonly string[];
};

/** Reads what `ssh-keygen -L` says of one certificate, asked in UTC; null where it says something else. */
export const readCertificate = (said: string): Certificate | null => {
  const type = /^ +Type: \S+ (user|host) certificate$/m.exec(said)?.[1];
  const fingerprint = /^ +Public key: \S+ (SHA256:\S+)$/m.exec(said)?.[1];
  const valid = /^ +Valid: (.+)$/m.exec(said)?.[1];
  if (type === undefined || fingerprint === undefined || valid === undefined) return null;
  const time = (word: string): number | undefined => {
    const found = new RegExp(`(?:^| )${word} (\\S+)`).exec(valid)?.[1];
    return found === undefined ? undefined : Date.parse(`${found}Z`);
  };
  const listed = /^ +Principals: *\n((?: {16}.+\n)*)/m.exec(said)?.[1] ?? '';
  return {
    isForUsers: type === 'user',
    fingerprint,
    validFrom: time('from') ?? time('after') ?? Number.NEGATIVE_INFINITY,
    validUntil: time('to') ?? time('before') ?? Number.POSITIVE_INFINITY,
    principals: listed.split('\n').flatMap((line) => line.trim() || []),
  };
};

/** Why a certificate cannot serve with the key of that fingerprint at this time; null: it can. */
export const certificateFailure = (
  { isForUsers, fingerprint, validFrom, validUntil }: Certificate,
  keyFingerprint: string,
  unixMs: number,
): Failure | null => {
  const time = (ms: number) => new Date(ms).toISOString().replace('.000', '');
  if (!isForUsers) return invalid('expected a certificate for users; got one for hosts');
  if (fingerprint !== keyFingerprint)
    return invalid(`expected a certificate of the key ${keyFingerprint}; got one of ${fingerprint}`);
  if (unixMs < validFrom) return expired(`the certificate is not valid before ${time(validFrom)}`);
  if (unixMs >= validUntil) return expired(`the certificate was valid until ${time(validUntil)}`);
  return null;
};

const invalid = (detail: string): Failure => ({ reason: 'IdentityInvalid', detail });
const expired = (detail: string): Failure => ({ reason: 'CertificateExpired', detail });
