import { randomUUID } from 'node:crypto';
import { INJECT_LABEL } from '../api/names.ts';
import { isNotFound } from '../kube/api-error.ts';
import { createClient, type KubeClient } from '../kube/client.ts';
import { sleep, systemClock } from '../kube/clock.ts';
import { connect } from '../kube/connection.ts';
import { type Controller, createController, source } from '../kube/controller.ts';
import { createEventRecorder } from '../kube/events.ts';
import { guardWrites } from '../kube/guard-writes.ts';
import { createInformer } from '../kube/informer.ts';
import { loadKubeConfig } from '../kube/kubeconfig.ts';
import { createLeaderElector } from '../kube/leader-election.ts';
import { describe, type Log } from '../kube/log.ts';
import { METRICS } from '../kube/meter.ts';
import { controllerOf, keyOf, makeKey } from '../kube/object.ts';
import { rememberWrites } from '../kube/own-writes.ts';
import { CONFIG_MAPS, MUTATING_WEBHOOKS, PODS } from '../kube/resource.ts';
import { createServingCertificate } from '../kube/serving-certificate.ts';
import type { Store } from '../kube/store.ts';
import { createWebhookServer, type WebhookServer } from '../kube/webhook-server.ts';
import { serveHttp } from '../telemetry/http-server.ts';
import { registerMetrics } from '../telemetry/metrics.ts';
import { createPodAdmission } from './admission.ts';
import { OPERATOR_METRICS } from './metrics.ts';
import { reconcileTunnel, type TunnelObject } from './reconcile-tunnel.ts';
import { createRefusals } from './refusals.ts';
import { FIELD_MANAGER, MANAGED_BY, SSH_TUNNELS } from './resource.ts';
import { type ConfigMap, isProvided } from './tunnel-config-map.ts';
import { hasNews, type Pod, trimPod, tunnelNamesOf } from './tunnel-pod.ts';

export type ControllerSettings = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** The image of the sidecars, and how a kubelet gets it. */
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly namespace: string;
  /** Of this process: the pod's name. */
  readonly instance: string;
  readonly webhookService: string;
  readonly webhookConfiguration: string;
  readonly certificateSecret: string;
  readonly ports: { readonly webhook: number; readonly health: number; readonly metrics: number };
};

const TUNNEL_INDEX = 'tunnel';
const LEASE = 'autossh-operator';
/** How long requests under way may go on when the process is told to end. */
const GRACE_MS = 5_000;
/** Between "not ready" and the end: Services still send admission requests for a moment. */
const LEAVE_MS = 3_000;

/**
 * The operator: every replica answers the webhook from its own caches; one of them, the leader, writes. Resolves with the exit code:
 * 0 after the signal, 1 when the lease was lost, since writes may still be under way and only an end is certain.
 */
export const runController = async (settings: ControllerSettings, stop: AbortSignal, log: Log): Promise<number> => {
  const meter = registerMetrics({ ...METRICS, ...OPERATOR_METRICS });
  const refusals = createRefusals(meter);
  const connection = connect({
    load: () => loadKubeConfig(settings.env),
    userAgent: `autossh-operator/${settings.version}`,
  });
  const client = createClient({ connection, meter });
  const common = { client, log, meter };
  const tunnels = createInformer<TunnelObject>({ ...common, resource: SSH_TUNNELS, transform: slim });
  const pods = createInformer<Pod, typeof TUNNEL_INDEX>({
    ...common,
    resource: PODS,
    labelSelector: `${INJECT_LABEL}=true`,
    transform: trimPod,
    indexers: {
      [TUNNEL_INDEX]: (pod) => tunnelNamesOf(pod).map((name) => makeKey(name, pod.metadata.namespace)),
    },
  });
  const configMaps = createInformer<ConfigMap>({
    ...common,
    resource: CONFIG_MAPS,
    labelSelector: Object.entries(MANAGED_BY)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    transform: slim,
  });
  const informers = [tunnels, pods, configMaps];
  let leaving = false;

  let webhook = null as WebhookServer | null;
  let controller = null as Controller | null;
  const serving = createServingCertificate({
    ...common,
    namespace: settings.namespace,
    secretName: settings.certificateSecret,
    dnsNames: [`${settings.webhookService}.${settings.namespace}.svc`],
    webhooks: [{ resource: MUTATING_WEBHOOKS, name: settings.webhookConfiguration }],
    fieldManager: FIELD_MANAGER,
    onCertificate: (pair) => webhook?.setCertificate(pair),
  });
  const health = await serveHttp(
    {
      '/healthz': () => ({ status: 200, body: 'ok\n' }),
      '/readyz': () =>
        webhook !== null && !leaving && tunnels.hasSynced()
          ? { status: 200, body: 'ready\n' }
          : { status: 503, body: leaving ? 'leaving\n' : 'starting\n' },
    },
    { port: settings.ports.health },
  );
  const metrics = await serveHttp(
    {
      '/metrics': async () => {
        controller?.measure();
        const { body, type } = await meter.text();
        return { status: 200, body, type };
      },
    },
    { port: settings.ports.metrics },
  );

  const background = new AbortController();
  const working = [...informers.map((informer) => informer.run(background.signal))];
  try {
    const { promise: tried, resolve: setTried } = Promise.withResolvers<void>();
    const until = AbortSignal.any([stop, background.signal]);
    const serve = async () => {
      const certificate = await persist(() => serving.ensure(until).finally(setTried), until, log);
      if (certificate === null) return;
      webhook = createWebhookServer({
        certificate,
        handlers: {
          '/mutate-pods': createPodAdmission({
            image: settings.image,
            imagePullPolicy: settings.imagePullPolicy,
            tunnelsOf: lookUp(client, tunnels.store),
          }),
        },
        log,
        meter,
      });
      await webhook.listen({ port: settings.ports.webhook });
      log('info', 'webhook, health and metrics served', { ...settings.ports });
      await serving.run(background.signal);
    };
    const broken = new AbortController();
    working.push(
      serve()
        .catch((error: unknown) => broken.abort(error))
        .finally(setTried),
    );
    // Tunnels that are there already must not wait for a webhook that cannot be served, say for want of a permission.
    await tried;

    const elector = createLeaderElector({
      ...common,
      namespace: settings.namespace,
      name: LEASE,
      identity: `${settings.instance}_${randomUUID()}`,
    });
    const result = await elector.run(AbortSignal.any([stop, broken.signal]), async (signal, lost) => {
      log('info', 'leading');
      const writer = createClient({ connection: guardWrites(connection, elector.isLeader, lost), meter });
      const events = createEventRecorder({
        client: writer,
        controller: 'autossh.dev/operator',
        instance: settings.instance,
        log,
        meter,
      });
      const cluster = {
        ...{ client: writer, events, tunnels: tunnels.store, configMaps: rememberWrites(configMaps) },
        podsOf: (key: string) => pods.store.byIndex(TUNNEL_INDEX, key),
        refusals,
        heard: new Map(),
        behind: new Map(),
        now: () => new Date(),
      };
      controller = createController({
        name: 'sshtunnel',
        concurrency: 4,
        sources: [
          source(tunnels, { keysOf: (tunnel) => [keyOf(tunnel)], changed: hasNewWork }),
          source(pods, {
            keysOf: (pod) => tunnelNamesOf(pod).map((name) => makeKey(name, pod.metadata.namespace)),
            changed: hasNews,
          }),
          source(configMaps, { keysOf: ownersOf, settled: (configMap) => isProvided(configMap, tunnels.store) }),
        ],
        reconcile: (key, context) => reconcileTunnel(key, context, cluster),
        log,
        meter,
      });
      await controller.run(signal, lost);
      await events.flush(GRACE_MS);
    });
    broken.signal.throwIfAborted();
    return result === 'lost' ? 1 : 0;
  } finally {
    leaving = true;
    if (stop.aborted && webhook !== null) await pause(LEAVE_MS);
    await webhook?.close(GRACE_MS);
    background.abort();
    await Promise.allSettled(working);
    health.close();
    metrics.close();
    await connection.close();
  }
};

/** A tunnel that the cache does not have is asked for: it may have been applied a moment ago, in the same file as the workload. */
const lookUp =
  (client: KubeClient, store: Store<TunnelObject>) =>
  async (namespace: string, names: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, unknown>> => {
    const found = await Promise.all(
      names.map(async (name) => {
        const known = store.get(makeKey(name, namespace));
        if (known !== undefined) return [[name, known] as const];
        try {
          return [[name, await client.get<TunnelObject>(SSH_TUNNELS, { namespace, name }, { signal })] as const];
        } catch (error) {
          if (isNotFound(error)) return [];
          throw error;
        }
      }),
    );
    return new Map(found.flat());
  };

/** Tries until it works or the signal ends it (null): at the start of a cluster the API server may be slow to come. */
const persist = async <T>(attempt: () => Promise<T>, stop: AbortSignal, log: Log): Promise<T | null> => {
  for (let wait = 500; !stop.aborted; wait = Math.min(wait * 2, 15_000)) {
    try {
      return await attempt();
    } catch (error) {
      if (stop.aborted) break;
      log('error', 'could not prepare the webhook certificate; trying again', { error: describe(error), waitMs: wait });
      await sleep(systemClock, wait, stop);
    }
  }
  return null;
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Our own writes of the status wake nobody up. */
const hasNewWork = (now: TunnelObject, old: TunnelObject): boolean =>
  now.metadata.generation !== old.metadata.generation ||
  JSON.stringify(now.metadata.annotations) !== JSON.stringify(old.metadata.annotations);

const ownersOf = (configMap: ConfigMap): string[] => {
  const owner = controllerOf(configMap);
  return owner?.kind === SSH_TUNNELS.kind ? [makeKey(owner.name, configMap.metadata.namespace)] : [];
};

/** managedFields are more than half of many objects, and nobody here looks at them. */
const slim = <T extends { readonly metadata: object }>(object: T): T => ({
  ...object,
  metadata: { ...object.metadata, managedFields: undefined },
});
