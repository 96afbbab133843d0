import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError } from '../../src/kube/api-error.ts';
import { PROPAGATION_MS } from '../../src/kube/certificate-plan.ts';
import { issueServing, makeAuthority, type Pair, parseBundle } from '../../src/kube/certificates.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { systemClock } from '../../src/kube/clock.ts';
import type { Connection } from '../../src/kube/connection.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { CONFIG_MAPS, MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS } from '../../src/kube/resource.ts';
import { createServingCertificate, type ServingCertificateOptions } from '../../src/kube/serving-certificate.ts';
import { createWebhookServer, type WebhookServer } from '../../src/kube/webhook-server.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { clientOf } from '../support/kube/client.ts';
import { createRecordingLog, createRecordingMeter } from '../support/kube/recording.ts';
import { until } from '../support/until.ts';

type ConfigMap = KubeObject & { data?: Record<string, string> };
type Configuration = KubeObject & { webhooks: { clientConfig: { caBundle?: string } }[] };

const DAY_MS = 86_400_000;
const PLACE = { namespace: 'default', name: 'webhook-tls' };
/** How long the API server waits for an answer; a fifth of it is longer than the machine stands still. */
const TIMEOUT_SECONDS = 15;
const PATIENT = { deadlineMs: 60_000 };

describe('an admission webhook of a real API server', () => {
  let server: Awaited<ReturnType<typeof upApiServer>>;
  let client: KubeClient;
  let connection: Connection;
  let webhook: WebhookServer;
  let port: number;
  let served: Pair;
  const said = createRecordingLog();
  const { meter, value } = createRecordingMeter();
  const stop = new AbortController();
  let kept: Promise<void>;

  const certificate = (options: Partial<ServingCertificateOptions> = {}) =>
    createServingCertificate({
      client,
      namespace: PLACE.namespace,
      secretName: PLACE.name,
      dnsNames: ['localhost'],
      webhooks: [
        { resource: MUTATING_WEBHOOKS, name: 'test' },
        { resource: VALIDATING_WEBHOOKS, name: 'test' },
      ],
      fieldManager: 'autossh-operator',
      onCertificate: () => {},
      log: said.log,
      ...options,
    });
  const configure = async (resource: typeof MUTATING_WEBHOOKS, path: string) =>
    await client.create(resource, {
      metadata: { name: 'test' },
      webhooks: [
        {
          name: 'test.autossh.dev',
          clientConfig: { url: `https://localhost:${port}${path}` },
          rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['configmaps'] }],
          objectSelector: { matchLabels: { webhook: 'yes' } },
          failurePolicy: 'Fail',
          sideEffects: 'None',
          admissionReviewVersions: ['v1'],
          timeoutSeconds: TIMEOUT_SECONDS,
        },
      ],
    } as KubeObject);

  beforeAll(async () => {
    server = await upApiServer();
    ({ client, connection } = clientOf(readFileSync(server.kubeconfig, 'utf8')));
    served = await certificate({ webhooks: [] }).ensure();
    webhook = createWebhookServer({
      certificate: served,
      log: said.log,
      meter,
      maxBodyBytes: 100_000,
      handlers: {
        '/mutate': ({ object }) => {
          const { data, ...rest } = object as ConfigMap;
          const metadata = { ...rest.metadata, annotations: { 'autossh.dev/seen': 'yes' } };
          if (data?.['do'] === 'throw') throw new Error('a fault of ours');
          return { allowed: true, object: { ...rest, metadata, data: { ...data, added: 'ü' } } as KubeObject };
        },
        '/validate': async ({ object, dryRun }) => {
          const { data } = object as ConfigMap;
          if (data?.['do'] === 'hang') await new Promise(() => {});
          if (data?.['do'] !== 'refuse') return { allowed: true };
          return { allowed: false, message: `expected anything else${dryRun ? ' (dry)' : ''}` };
        },
      },
    });
    port = await webhook.listen({ host: server.hostAddress, port: 0 });
    await configure(MUTATING_WEBHOOKS, '/mutate');
    await configure(VALIDATING_WEBHOOKS, '/validate');
    kept = certificate({
      onCertificate: (pair) => {
        served = pair;
        webhook.setCertificate(pair);
      },
    }).run(stop.signal);
    await until('the caBundle', async () => (await bundles()).every((bundle) => bundle !== undefined), {
      ...PATIENT,
      state: said.text,
    });
    // Until the API server has taken up the caBundle it cannot ask, and refuses.
    const inUse = () =>
      create().then(
        ({ data }) => data?.['added'] === 'ü',
        () => false,
      );
    await until('the webhook in use', inUse, { ...PATIENT, state: said.text });
  });
  afterAll(async () => {
    stop.abort();
    await kept;
    await connection?.close();
    await webhook?.close(1000);
    await server?.down();
  });

  let count = 0;
  const create = (data: Record<string, string> = {}, options = {}) =>
    client.create<ConfigMap>(
      CONFIG_MAPS,
      { metadata: { name: `w-${++count}`, namespace: 'default', labels: { webhook: 'yes' } }, data },
      options,
    );
  const bundles = async () => {
    const found = await Promise.all(
      [MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS].map((resource) => client.get<Configuration>(resource, { name: 'test' })),
    );
    return found.map(({ webhooks }) => webhooks[0]?.clientConfig.caBundle);
  };
  const refusalOf = (promise: Promise<unknown>) =>
    promise.then(
      () => 'accepted',
      (error: unknown) => (error instanceof ApiError ? error.message : String(error)),
    );

  it('changes what it is asked about, and refuses with its own words', async () => {
    const made = await create({ x: '1' });
    expect(made.data).toEqual({ x: '1', added: 'ü' });
    expect(made.metadata.annotations).toEqual({ 'autossh.dev/seen': 'yes' });
    expect(await refusalOf(create({ do: 'refuse' }))).toContain('denied the request: expected anything else');
    expect(await refusalOf(create({ do: 'refuse' }, { dryRun: true }))).toContain('(dry)');
  });

  it('is measured as any other webhook', async () => {
    const flying = () => value('controller_runtime_webhook_requests_in_flight{webhook=/validate}');
    const answered = (code: number) =>
      value(`controller_runtime_webhook_requests_total{code=${code},webhook=/validate}`) ?? 0;
    const timed = () => value('controller_runtime_webhook_latency_seconds{webhook=/validate}') ?? 0;
    await until('the requests before to end', () => flying() === 0, PATIENT);
    const before = [answered(200), timed()] as const;
    const hanging = refusalOf(create({ do: 'hang' }));
    await until('a request in flight', () => flying() === 1, PATIENT);
    expect(answered(200)).toBe(before[0]);
    // A refusal is an answer.
    expect(await hanging).toContain('/validate failed');
    await until('it to end', () => flying() === 0, PATIENT);
    expect([answered(200), timed()]).toEqual(before.map((count) => count + 1));
    expect(answered(500)).toBe(0);
  });

  it('refuses when its handler throws or hangs, and goes on', async () => {
    expect(await refusalOf(create({ do: 'throw' }))).toContain('/mutate failed: a fault of ours');
    expect(await refusalOf(create({ do: 'hang' }))).toContain('/validate failed: expected an answer within 12000 ms');
    expect((await create()).data).toBeDefined();
  });

  it('answers without a gap while its certificate and then its authority are changed', async () => {
    const failures: string[] = [];
    let asked = 0;
    /** The certificate the server shows, checked against the caBundle as it is; one that has changed meanwhile says nothing. */
    const handshake = async () => {
      const [bundle = ''] = await bundles();
      const error = await new Promise<Error | undefined>((resolve) => {
        const socket = connect(
          { host: '127.0.0.1', port, servername: 'localhost', ca: Buffer.from(bundle, 'base64') },
          () => {
            socket.destroy();
            resolve(undefined);
          },
        );
        socket.once('error', resolve);
      });
      if (error && (await bundles())[0] === bundle) failures.push(error.message);
    };
    let going = true;
    const load = (async () => {
      while (going) {
        asked++;
        // A fresh connection now and then, as from another API server: the one that is open knows nothing of certificates.
        const answer = await refusalOf(create());
        if (answer !== 'accepted') failures.push(answer);
        if (asked % 5 === 0) await handshake();
      }
    })();
    // The same Secret, seen by a replica whose clock is ahead: the serving certificate is in its last third.
    const ahead = (ms: number) => ({ ...systemClock, date: () => new Date(Date.now() + ms) });
    const before = served.cert;
    await certificate({ clock: ahead(61 * DAY_MS) }).ensure();
    await until('the new certificate in use', () => served.cert !== before, { ...PATIENT, state: said.text });
    const renewed = served.cert;
    expect(parseBundle(Buffer.from((await bundles())[0] ?? '', 'base64').toString())).toHaveLength(1);

    const secret = await client.get<KubeObject & { data: Record<string, string> }>(SECRETS, PLACE);
    const { 'ca.key': _, ...data } = secret.data;
    await client.update(SECRETS, { ...secret, data: { ...data, 'ca.key': Buffer.from('lost').toString('base64') } });
    await until(
      'both authorities in the caBundle',
      async () =>
        (await bundles()).every((bundle) => parseBundle(Buffer.from(bundle ?? '', 'base64').toString()).length === 2),
      { ...PATIENT, state: said.text },
    );
    expect(served.cert).toBe(renewed);
    await certificate({ clock: ahead(PROPAGATION_MS + 60_000) }).ensure();
    await until('a certificate of the new authority in use', () => served.cert !== renewed, {
      ...PATIENT,
      state: said.text,
    });
    const soFar = asked;
    await until('more requests', () => asked > soFar + 10, PATIENT);
    going = false;
    await load;
    expect(failures).toEqual([]);
  });

  it('puts a caBundle and a Secret right that somebody spoiled', async () => {
    const [right] = await bundles();
    const body = [
      { op: 'replace', path: '/webhooks/0/clientConfig/caBundle', value: Buffer.from(served.cert).toString('base64') },
    ];
    await client.patch(MUTATING_WEBHOOKS, { name: 'test' }, { type: 'json', body });
    await until('the caBundle to be right', async () => (await bundles())[0] === right, {
      ...PATIENT,
      state: said.text,
    });
    await client.delete(SECRETS, PLACE);
    await until('a new Secret', async () => (await bundles()).every((bundle) => bundle !== right), {
      ...PATIENT,
      state: said.text,
    });
    await until('its certificate in use', () => refusalOf(create()).then((answer) => answer === 'accepted'), {
      ...PATIENT,
      state: said.text,
    });
  });

  it('keeps the labels and annotations of a Secret that has to be made anew', async () => {
    const place = { namespace: PLACE.namespace, name: 'marked-tls' };
    const marks = {
      labels: { 'app.kubernetes.io/managed-by': 'Helm' },
      annotations: { 'meta.helm.sh/release-name': 'x' },
    };
    await client.create<KubeObject>(SECRETS, { metadata: { ...place, ...marks } });
    const own = certificate({ secretName: place.name, webhooks: [] });
    const { cert } = await own.ensure();
    expect((await client.get(SECRETS, place)).metadata).toMatchObject(marks);
    await client.delete(SECRETS, place);
    expect((await own.ensure()).cert).not.toBe(cert);
    expect((await client.get(SECRETS, place)).metadata).toMatchObject(marks);
  });

  it('is made once when many replicas begin together', async () => {
    const pairs = await Promise.all(
      Array.from({ length: 5 }, () => certificate({ secretName: 'crowd-tls', webhooks: [] }).ensure()),
    );
    expect(new Set(pairs.map(({ cert }) => cert)).size).toBe(1);
  });

  describe('asked by others', () => {
    const ask = (path: string, body: string | undefined, headers: Record<string, string> = {}, method = 'POST') =>
      new Promise<{ code: number; text: string }>((resolve, reject) => {
        const options = {
          host: '127.0.0.1',
          port,
          path,
          method,
          headers: { 'Content-Type': 'application/json', ...headers },
        };
        const asked = request({ ...options, rejectUnauthorized: false, agent: false }, (answer) => {
          let text = '';
          answer.on('data', (chunk) => {
            text += chunk;
          });
          answer.on('end', () => resolve({ code: answer.statusCode ?? 0, text }));
        });
        asked.on('error', reject);
        asked.end(body);
      });
    it('says what it expects', async () => {
      expect((await ask('/nowhere', '{}')).code).toBe(404);
      expect((await ask('/constructor', '{}')).code).toBe(404);
      expect((await ask('/mutate', undefined, {}, 'GET')).code).toBe(405);
      expect((await ask('/mutate', 'a=b', { 'Content-Type': 'application/x-www-form-urlencoded' })).code).toBe(415);
      expect((await ask('/mutate', 'x'.repeat(100_001))).code).toBe(413);
      for (const body of ['', 'null', '{', '[]', '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}'])
        expect((await ask('/mutate', body)).code).toBe(400);
      expect(
        (await ask('/mutate', '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}')).text,
      ).toContain('v1beta1');
      expect((await create()).data).toBeDefined();
    });

    it('keeps its certificate when the new one does not fit its key', async () => {
      const validity = { notBefore: new Date(), notAfter: new Date(Date.now() + DAY_MS) };
      const [a, b] = await Promise.all([makeAuthority('a', validity), makeAuthority('b', validity)]);
      const { cert } = await issueServing(a, ['localhost'], validity);
      expect(() => webhook.setCertificate({ cert, key: b.key })).toThrow();
      expect(await refusalOf(create())).toBe('accepted');
    });
  });
});
