import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  BACKDATE_MS,
  type CertificateData,
  PROPAGATION_MS,
  planCertificates,
} from '../../../src/kube/certificate-plan.ts';
import { issueServing, makeAuthority, parseBundle } from '../../../src/kube/certificates.ts';

const DAY = 86_400_000;
const START = Date.parse('2026-01-01T00:00:00Z');
const NAMES = ['op.system.svc', 'op.system.svc.cluster.local'];
const after = (ms: number) => new Date(START + ms);
const made = (at: number, days: number) => ({ notBefore: after(at - BACKDATE_MS), notAfter: after(at + days * DAY) });

const secret = async (): Promise<CertificateData> => {
  const authority = await makeAuthority('one', made(0, 1000));
  const serving = await issueServing(authority, NAMES, made(0, 90));
  return { 'ca.crt': authority.cert, 'ca.key': authority.key, 'tls.crt': serving.cert, 'tls.key': serving.key };
};
const plan = (data: Partial<CertificateData>, at: number, names = NAMES) => {
  const { makeAuthority: authority, issueServing: serving, trusted } = planCertificates(data, names, after(at));
  return { authority, serving, trusted: trusted.length };
};

describe('certificates', () => {
  it('are what a verifier wants', async () => {
    const authority = await makeAuthority('the-ca', made(0, 100));
    const serving = await issueServing(authority, NAMES, made(0, 200));
    const [ca, leaf] = [new X509Certificate(authority.cert), new X509Certificate(serving.cert)];
    expect([ca.ca, leaf.ca, ca.subject, leaf.issuer]).toEqual([true, false, 'CN=the-ca', 'CN=the-ca']);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.subjectAltName).toBe(NAMES.map((name) => `DNS:${name}`).join(', '));
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    // Never longer than the authority.
    expect(leaf.validTo).toBe(ca.validTo);
    expect(serving.key).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  });
});

describe('the plan for certificates', () => {
  it('makes everything where there is nothing, or nothing that can be read', () => {
    expect(plan({}, 0)).toEqual({ authority: true, serving: true, trusted: 0 });
    expect(plan({ 'ca.crt': 'junk', 'ca.key': 'junk', 'tls.crt': 'junk', 'tls.key': 'junk' }, 0)).toEqual({
      authority: true,
      serving: true,
      trusted: 0,
    });
  });

  it('leaves good ones alone, and renews the serving one in its last third', async () => {
    const data = await secret();
    expect(plan(data, 1 * DAY)).toEqual({ authority: false, serving: false, trusted: 1 });
    expect(plan(data, 59 * DAY)).toEqual({ authority: false, serving: false, trusted: 1 });
    expect(plan(data, 61 * DAY)).toEqual({ authority: false, serving: true, trusted: 1 });
  });

  it('renews a serving one for other names, with a foreign key, of a foreign authority, or expired', async () => {
    const [data, other] = [await secret(), await secret()];
    expect(plan(data, DAY, ['new.system.svc']).serving).toBe(true);
    expect(plan({ ...data, 'tls.key': other['tls.key'] }, DAY).serving).toBe(true);
    expect(plan({ ...data, 'tls.crt': other['tls.crt'], 'tls.key': other['tls.key'] }, DAY).serving).toBe(true);
    expect(plan(data, 91 * DAY).serving).toBe(true);
  });

  it('makes a new authority when the key is lost, without touching what still serves', async () => {
    const { 'ca.key': _, ...data } = await secret();
    expect(plan(data, DAY)).toEqual({ authority: true, serving: false, trusted: 1 });
  });

  it('moves to a new authority only after that had time to be known', async () => {
    const old = await secret();
    const at = 700 * DAY;
    const serving = await issueServing({ cert: old['ca.crt'], key: old['ca.key'] }, NAMES, made(at, 90));
    const current = { ...old, 'tls.crt': serving.cert, 'tls.key': serving.key };
    expect(plan(current, at)).toEqual({ authority: true, serving: false, trusted: 1 });
    const next = await makeAuthority('two', made(at, 1000));
    const both = { ...current, 'ca.crt': next.cert + old['ca.crt'], 'ca.key': next.key };
    expect(plan(both, at + 1000)).toEqual({ authority: false, serving: false, trusted: 2 });
    expect(plan(both, at + PROPAGATION_MS + 1000)).toEqual({ authority: false, serving: true, trusted: 2 });
    const moved = await issueServing(next, NAMES, made(at, 90));
    const end = { ...both, 'tls.crt': moved.cert, 'tls.key': moved.key };
    expect(plan(end, at + DAY)).toEqual({ authority: false, serving: false, trusted: 2 });
    // The old authority leaves when it ends.
    expect(plan(end, 1001 * DAY).trusted).toBe(1);
  });

  it('reads a bundle and leaves out what it cannot read', async () => {
    const { 'ca.crt': cert } = await secret();
    expect(
      parseBundle(`${cert}junk\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${cert}`),
    ).toHaveLength(2);
  });
});
