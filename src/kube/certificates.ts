import 'reflect-metadata';
import { createPrivateKey, X509Certificate as NodeCertificate, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** PEM: certificate and PKCS#8 key. */
export type Pair = { readonly cert: string; readonly key: string };

export type Validity = { readonly notBefore: Date; readonly notAfter: Date };

/** P-256: what every TLS stack knows, and what kubeadm's own certificates may be. */
const KEY = { name: 'ECDSA', namedCurve: 'P-256' };
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' };

/** A certificate authority that may sign servers and nothing below it. */
export const makeAuthority = async (commonName: string, validity: Validity): Promise<Pair> => {
  const keys = await webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      ...validity,
      name: [{ CN: [commonName] }],
      keys,
      signingAlgorithm: SIGNATURE,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(
          KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature,
          true,
        ),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { cert: `${certificate.toString('pem')}\n`, key: await keyPem(keys.privateKey) };
};

/** A server's certificate for these DNS names, signed by the authority; ends with it at the latest. */
export const issueServing = async (authority: Pair, dnsNames: readonly string[], validity: Validity): Promise<Pair> => {
  const issuer = new X509Certificate(authority.cert);
  const pkcs8 = PemConverter.decodeFirst(authority.key);
  const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, KEY, false, ['sign']);
  const keys = await webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.create(
    {
      notBefore: validity.notBefore,
      notAfter: validity.notAfter < issuer.notAfter ? validity.notAfter : issuer.notAfter,
      subject: [{ CN: [(dnsNames[0] ?? '').slice(0, 64)] }],
      issuer: issuer.subjectName.toJSON(),
      publicKey: keys.publicKey,
      signingKey,
      signingAlgorithm: SIGNATURE,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: 'dns', value }))),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { cert: `${certificate.toString('pem')}\n`, key: await keyPem(keys.privateKey) };
};

/** The certificates of a bundle. What cannot be read is left out. */
export const parseBundle = (bundle: string): NodeCertificate[] =>
  (bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).flatMap((pem) => {
    try {
      return [new NodeCertificate(pem)];
    } catch {
      return [];
    }
  });

/** Whether the PEM key is that of the certificate. */
export const fits = (certificate: NodeCertificate, key: string): boolean => {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
};

const keyPem = async (key: webcrypto.CryptoKey): Promise<string> =>
  `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
