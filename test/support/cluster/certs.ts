import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must } from './process.ts';

/** A certificate and its key, by path: the programs of a cluster read files. */
export type KeyPair = { cert: string; key: string };

export type Subject = {
  /** Names the files. */
  name: string;
  commonName: string;
  /** Kubernetes reads this as the user's group. */
  organization?: string;
  /** For servers: `DNS:localhost`, `IP:127.0.0.1`. */
  altNames?: readonly string[];
};

/** A certificate authority of one run, in a folder that only its user enters. */
export async function makeAuthority(folder: string): Promise<KeyPair> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return await request(folder, { name: 'ca', commonName: 'harness-ca' });
}

export async function issue(authority: KeyPair, subject: Subject): Promise<KeyPair> {
  return await request(join(authority.cert, '..'), subject, authority);
}

/** The key pair that signs service account tokens. */
export async function makeServiceAccountKey(folder: string): Promise<{ private: string; public: string }> {
  const files = { private: join(folder, 'sa.key'), public: join(folder, 'sa.pub') };
  await must([
    'openssl',
    'genpkey',
    '-quiet',
    '-algorithm',
    'EC',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-out',
    files.private,
  ]);
  await must(['openssl', 'pkey', '-in', files.private, '-pubout', '-out', files.public]);
  return files;
}

async function request(folder: string, subject: Subject, authority?: KeyPair): Promise<KeyPair> {
  const pair = { cert: join(folder, `${subject.name}.crt`), key: join(folder, `${subject.name}.key`) };
  const config = join(folder, `${subject.name}.cnf`);
  writeFileSync(config, requestConfig(subject, !authority));
  await must([
    ...['openssl', 'req', '-x509', '-config', config, '-days', '30', '-noenc'],
    ...['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-keyout', pair.key, '-out', pair.cert],
    ...(authority ? ['-CA', authority.cert, '-CAkey', authority.key] : []),
  ]);
  return pair;
}

/** A configuration of our own: the machine's openssl.cnf makes every self-signed request a CA. */
export function requestConfig(
  { commonName, organization, altNames }: Omit<Subject, 'name'>,
  isAuthority: boolean,
): string {
  return [
    '[req]',
    'prompt = no',
    'distinguished_name = subject',
    'x509_extensions = extensions',
    '[subject]',
    ...(organization ? [`O = ${organization}`] : []),
    `CN = ${commonName}`,
    '[extensions]',
    `basicConstraints = critical, CA:${isAuthority ? 'TRUE' : 'FALSE'}`,
    `keyUsage = critical, ${isAuthority ? 'keyCertSign, cRLSign, digitalSignature' : 'digitalSignature'}`,
    ...(isAuthority ? [] : ['extendedKeyUsage = clientAuth, serverAuth']),
    ...(altNames ? [`subjectAltName = ${altNames.join(', ')}`] : []),
    '',
  ].join('\n');
}

/** How to speak to an API server, as a client library wants it. */
export type Credentials = { server: string; ca: string; cert: string; key: string };

export function readCredentials(server: string, authority: KeyPair, client: KeyPair): Credentials {
  const [ca, cert, key] = [authority.cert, client.cert, client.key].map((file) => readFileSync(file, 'utf8')) as [
    string,
    string,
    string,
  ];
  return { server, ca, cert, key };
}

/** A kubeconfig with everything inside, so that one file can be handed on. JSON is YAML. */
export function kubeconfig({ server, ca, cert, key }: Credentials): string {
  const data = (text: string) => Buffer.from(text).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'harness', cluster: { server, 'certificate-authority-data': data(ca) } }],
    users: [{ name: 'harness', user: { 'client-certificate-data': data(cert), 'client-key-data': data(key) } }],
    contexts: [{ name: 'harness', context: { cluster: 'harness', user: 'harness' } }],
    'current-context': 'harness',
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
