import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSshTunnel } from '../../src/api/parse.ts';
import { CHART, type Manifest, NAMESPACE, OPERATOR, objectsOf, RELEASE } from '../support/chart.ts';
import { chartClients } from '../support/chart-clients.ts';
import { upApiServer } from '../support/cluster/index.ts';
import { crdServed } from '../support/kube/crd.ts';
import { until } from '../support/until.ts';

const deploy = resolve(import.meta.dirname, '../../deploy');
const INSTALL = join(deploy, 'install.yaml');
const SAMPLES = join(deploy, 'samples');
const CERTIFICATE = 'autossh-operator-certificate';

let server: Awaited<ReturnType<typeof upApiServer>>;
const { kubectl, helm, makeNamespace } = chartClients(() => server);
beforeAll(async () => {
  // Without it the API server would send webhook calls to the Service's address, which only a node's kube-proxy makes reachable.
  server = await upApiServer({ extraFlags: ['--enable-aggregator-routing=true'] });
  await makeNamespace();
});
afterAll(async () => {
  await server?.down();
});

/** One after the other: the life of a release. */
describe('a release', () => {
  const get = async (...args: string[]) => JSON.parse(await kubectl(['get', ...args, '-o', 'json']));
  const webhooks = async () => (await get('mutatingwebhookconfiguration', RELEASE)).webhooks;
  const secret = async () => await get('secret', CERTIFICATE, '-n', NAMESPACE);

  it('is installed, with a CRD older than this', async () => {
    const older = join(server.dir, 'older');
    cpSync(CHART, older, { recursive: true });
    const path = join(older, 'templates/crd.yaml');
    const text = readFileSync(path, 'utf8');
    const without = text.replace(/ +shortNames:\n +- sshtun\n/, '');
    expect(without).not.toBe(text);
    writeFileSync(path, without);
    const notes = await helm('install', RELEASE, older, '--set', 'replicas=1');
    expect(notes).toContain(`kubectl --namespace ${NAMESPACE} rollout status deployment/autossh-operator`);
    expect(notes).toContain('WARNING: with one replica');
    await crdServed(server);
    expect((await webhooks()).map(({ clientConfig }: { clientConfig: object }) => clientConfig)).toEqual([
      { service: { name: RELEASE, namespace: NAMESPACE, path: '/mutate-pods', port: 443 } },
    ]);
    expect((await secret()).data).toBeUndefined();
  });

  const pod = (namespace: string, labels: Readonly<Record<string, string>>) =>
    server.kubectl(['create', '--dry-run=server', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'app', namespace, labels },
        spec: {
          securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [
            {
              name: 'app',
              image: 'example.com/app',
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
            },
          ],
        },
      }),
    });
  const marked = { 'autossh.dev/inject': 'true' };
  const refused = 'failed calling webhook "inject.autossh.dev"';

  it('calls the webhook for marked pods, and no others', async () => {
    // Nobody answers here: a pod is refused exactly when the webhook is asked.
    await until('the webhook to be asked', async () => (await pod('default', marked)).stderr.includes(refused), {
      deadlineMs: 60_000,
    });
    for (const [namespace, labels] of [
      ['default', {}],
      ['default', { 'autossh.dev/inject': 'false' }],
      ['kube-system', marked],
      [NAMESPACE, marked],
    ] as const)
      expect(await pod(namespace, labels)).toMatchObject({ code: 0, stderr: '' });
    expect((await pod('default', marked)).stderr).toContain(refused);
  });

  it('takes the samples, which say what they need', async () => {
    const files = readdirSync(SAMPLES).filter((name) => name.endsWith('.yaml'));
    for (const file of files) {
      await kubectl(['apply', '-f', join(SAMPLES, file)]);
      for (const object of objectsOf(readFileSync(join(SAMPLES, file), 'utf8')))
        if (object.kind === 'SshTunnel') expect(parseSshTunnel(object)).toMatchObject({ ok: true });
    }
    expect(files.length).toBeGreaterThanOrEqual(3);
    expect((await get('sshtunnels.autossh.dev')).items).toHaveLength(1);
    // Those for one machine are taken as they are, too.
    await kubectl(['apply', '--dry-run=server', '-f', join(SAMPLES, 'local')]);
  });

  /** Any certificate and key that fit: the API server warns of others. */
  const certificate = () => {
    const { cert, key } = server.credentials;
    return { 'tls.crt': Buffer.from(cert).toString('base64'), 'tls.key': Buffer.from(key).toString('base64') };
  };
  /** As the operator does it: by its own account, with its own field manager. */
  const fill = async () => {
    const { metadata } = await get('mutatingwebhookconfiguration', RELEASE);
    const caBundle = Buffer.from(server.credentials.ca).toString('base64');
    const { name, uid } = metadata;
    const { apiVersion, kind } = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
    };
    const bundle = {
      apiVersion,
      kind,
      metadata: { name, uid },
      webhooks: [{ name: 'inject.autossh.dev', clientConfig: { caBundle } }],
    };
    await kubectl(
      [
        'apply',
        '--server-side',
        '--field-manager=autossh-operator',
        '--force-conflicts',
        `--as=${OPERATOR}`,
        '-f',
        '-',
      ],
      JSON.stringify(bundle),
    );
    const filled = { ...(await secret()), data: certificate() };
    await kubectl(['replace', `--as=${OPERATOR}`, '-f', '-'], JSON.stringify(filled));
    return caBundle;
  };
  const expectKept = async (caBundle: string) => {
    expect((await webhooks())[0].clientConfig.caBundle).toBe(caBundle);
    expect((await secret()).data).toEqual(certificate());
  };

  it('is upgraded, the CRD too, and keeps what the operator wrote', async () => {
    const caBundle = await fill();
    await helm('upgrade', RELEASE, CHART, '--set', 'webhook.timeoutSeconds=7');
    await expectKept(caBundle);
    expect((await webhooks())[0].timeoutSeconds).toBe(7);
    expect((await get('crd', 'sshtunnels.autossh.dev')).spec.names.shortNames).toEqual(['sshtun']);
    expect((await get('deployment', RELEASE, '-n', NAMESPACE)).spec.replicas).toBe(2);
    await helm('upgrade', RELEASE, CHART, '--server-side=false', '--set', 'webhook.timeoutSeconds=8');
    await expectKept(caBundle);
    await helm('rollback', RELEASE, '2');
    await expectKept(caBundle);
    expect((await webhooks())[0].timeoutSeconds).toBe(7);
  });

  // Helm leaves alone what is not labelled as its own: until the upgrade the new Secret would outlive the release.
  it('is upgraded after the operator had to make the Secret anew, and owns it again', async () => {
    await kubectl(['delete', 'secret', CERTIFICATE, '-n', NAMESPACE]);
    const caBundle = Buffer.from(server.credentials.ca).toString('base64');
    const metadata = { name: CERTIFICATE, namespace: NAMESPACE };
    await kubectl(
      ['create', `--as=${OPERATOR}`, '-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata, data: certificate() }),
    );
    await helm('upgrade', RELEASE, CHART);
    await expectKept(caBundle);
  });

  /** What there is of the release, but for the CRD, by label and by name. */
  const left = async () => {
    const kinds =
      'deployments,services,secrets,serviceaccounts,roles,rolebindings,poddisruptionbudgets,clusterroles,clusterrolebindings,mutatingwebhookconfigurations';
    const { items } = (await get(kinds, '-A')) as { items: Manifest[] };
    return items.flatMap(({ kind, metadata }) => (metadata.name.includes(RELEASE) ? [`${kind}/${metadata.name}`] : []));
  };

  it('leaves the CRD and the tunnels, and nothing else, when it is uninstalled', async () => {
    expect((await left()).length).toBeGreaterThanOrEqual(12);
    await helm('uninstall', RELEASE);
    expect(await left()).toEqual([]);
    expect((await get('sshtunnels')).items).toHaveLength(1);
    await until('the webhook to be forgotten', async () => (await pod('default', marked)).code === 0, {
      deadlineMs: 60_000,
    });
  });

  it('is installed again under its name; elsewhere it must take the CRD over', async () => {
    await helm('install', RELEASE, CHART);
    await helm('uninstall', RELEASE);
    const other = ['install', 'other', CHART, '--namespace', 'default'];
    const { stderr } = await server.helm(other);
    expect(stderr).toContain('sshtunnels.autossh.dev');
    expect(await server.helm([...other, '--take-ownership'])).toMatchObject({ code: 0 });
    expect((await get('service', 'other-autossh-operator')).spec.selector['app.kubernetes.io/instance']).toBe('other');
    expect(await server.helm(['uninstall', 'other', '--namespace', 'default'])).toMatchObject({ code: 0 });
  });

  it('is there by plain manifests too, applied twice', async () => {
    await kubectl(['delete', 'crd', 'sshtunnels.autossh.dev']);
    const apply = async () => await kubectl(['apply', '--server-side', '-f', INSTALL]);
    await apply();
    const caBundle = await fill();
    await apply();
    await expectKept(caBundle);
    await kubectl(['delete', '-f', INSTALL, '--wait=false']);
    expect(await left()).toEqual([]);
  });
});
