import * as z from 'zod';
import { DEFAULTS } from './defaults.ts';
import { SIDECAR_UID } from './names.ts';
import { ruled } from './rule.ts';
import { objectName } from './text.ts';

const listMap = (...keys: string[]) => ({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys });
const atomic = { 'x-kubernetes-list-type': 'atomic' };

/** What Kubernetes itself judges when the object that has it is made: handed through as it is. */
const unjudged = () => z.looseObject({}).meta({ 'x-kubernetes-preserve-unknown-fields': true });

const QUANTITY = '^[+-]?([0-9]+|[0-9]+\\.[0-9]*|\\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$';
const quantities = (what: string) =>
  z
    .record(
      z.string(),
      z
        .union([z.int(), z.string().max(64).regex(new RegExp(QUANTITY))], {
          error: 'expected a quantity such as 100m or 64Mi',
        })
        .meta({ 'x-kubernetes-int-or-string': true }),
    )
    .meta({ maxProperties: 8 })
    .optional()
    .describe(what);

const resources = () =>
  z
    .strictObject({
      requests: quantities('What the scheduler sets aside, e.g. {cpu: 10m, memory: 64Mi}.'),
      limits: quantities('What the container may use at most.'),
    })
    .default({})
    .describe('Resources of the container that holds the tunnel. Default: those the operator is configured with.');

const runAsUser = () =>
  z
    .int()
    .min(1)
    .max(4294967294)
    .default(SIDECAR_UID)
    .describe(
      `uid of the container, with runAsUserStrategy Fixed. No app that shares the pod's process namespace may have the same. Default: ${SIDECAR_UID}.`,
    );

// Not runAsUser: null, since a client-side kubectl apply drops a null silently, and the default would come back.
const runAsUserStrategy = () =>
  z
    .enum(['Fixed', 'ClusterAssigned'])
    .default(DEFAULTS.runAsUserStrategy)
    .describe(
      'Fixed: the container runs as runAsUser. ClusterAssigned: the cluster chooses the uid, as OpenShift must. Default: Fixed.',
    );

const imagePullSecrets = () =>
  z
    .array(z.strictObject({ name: objectName().describe('Name of the Secret.') }))
    .max(8)
    .default([])
    .meta(listMap('name'))
    .describe('Secrets of the same namespace that may pull the image. At most 8.');

const labels = (what: string) =>
  z.record(z.string(), z.string().max(4096)).meta({ maxProperties: 64 }).optional().describe(what);

export const sidecar = () =>
  z
    .strictObject({
      startup: z
        .enum(['WaitForTunnel', 'Async'])
        .default(DEFAULTS.sidecar.startup)
        .describe(
          'WaitForTunnel: the app starts after the first heartbeat. Async: it starts at once. Default: WaitForTunnel.',
        ),
      podReadiness: z
        .enum(['Ignore', 'Require'])
        .default(DEFAULTS.sidecar.podReadiness)
        .describe('Require: the pod is Ready only while the tunnel is up. Default: Ignore.'),
      order: z
        .enum(['First', 'Last'])
        .default(DEFAULTS.sidecar.order)
        .describe('Place among the init containers; Last for meshes whose proxy must come first. Default: First.'),
      rolloutStrategy: z
        .enum(['Workload', 'None'])
        .default(DEFAULTS.sidecar.rolloutStrategy)
        .describe(
          'What happens to the workloads of spec.workloads when a change cannot be taken over by running pods: Workload rolls them, None waits for their next rollout. Default: Workload.',
        ),
      healthPort: z
        .int()
        .min(1024)
        .max(65535)
        .optional()
        .describe(
          'Port on the pod IP for probes, metrics and status. Default: 9322 for the first tunnel of a pod, one more for each further.',
        ),
      resources: resources(),
      runAsUser: runAsUser(),
      runAsUserStrategy: runAsUserStrategy(),
      imagePullSecrets: imagePullSecrets(),
    })
    .describe('The container in each pod of the app (mode Sidecar).');

const peer = () =>
  ruled(
    z.strictObject({
      podSelector: unjudged().optional().describe('Pods, by label; alone: of the same namespace.'),
      namespaceSelector: unjudged().optional().describe('Namespaces, by label; {} is all.'),
      ipBlock: z
        .strictObject({
          cidr: z.string().min(1).max(64).describe('Addresses, e.g. 10.0.0.0/8.'),
          except: z
            .array(z.string().min(1).max(64))
            .max(16)
            .optional()
            .meta(atomic)
            .describe('Parts of it that are not meant. At most 16.'),
        })
        .optional()
        .describe('Addresses outside the cluster; not beside selectors.'),
    }),
    [
      {
        cel: 'has(self.ipBlock) ? !has(self.podSelector) && !has(self.namespaceSelector) : has(self.podSelector) || has(self.namespaceSelector)',
        message: 'expected podSelector and/or namespaceSelector, or ipBlock alone',
        holds: ({ ipBlock, podSelector, namespaceSelector }) =>
          ipBlock === undefined
            ? podSelector !== undefined || namespaceSelector !== undefined
            : podSelector === undefined && namespaceSelector === undefined,
      },
    ],
  );

const podTemplate = () =>
  z
    .strictObject({
      metadata: z
        .strictObject({ labels: labels('Further labels.'), annotations: labels('Further annotations.') })
        .optional()
        .describe('Metadata of the pods.'),
      spec: z
        .strictObject({
          nodeSelector: labels('Labels a node must have.'),
          affinity: unjudged()
            .optional()
            .describe('As in a pod. Default: replicas on different nodes, where possible.'),
          tolerations: z.array(unjudged()).max(32).optional().meta(atomic).describe('As in a pod. At most 32.'),
          topologySpreadConstraints: z
            .array(unjudged())
            .max(8)
            .optional()
            .meta(atomic)
            .describe('As in a pod. At most 8.'),
          priorityClassName: objectName().optional().describe('As in a pod.'),
          imagePullSecrets: imagePullSecrets(),
        })
        .optional()
        .describe('What may be set of the pods: where they run, and how their image is pulled.'),
    })
    .optional()
    .describe('Changes to the pods of the gateway.');

export const gateway = () =>
  z
    .strictObject({
      // No default here: it depends on the forwards.
      replicas: z
        .int()
        .min(1)
        .max(16)
        .optional()
        .describe(
          'Pods of the gateway. Default: 2; 1 where a forward is remote, since its port can be held only once.',
        ),
      allowFrom: z
        .array(peer())
        .min(1)
        .max(16)
        .meta(atomic)
        .describe(
          'Who may connect, as in a NetworkPolicy: exposure is a decision, so there is no default. 1-16 entries.',
        ),
      service: z
        .strictObject({
          type: z
            .enum(['ClusterIP', 'NodePort', 'LoadBalancer'])
            .default(DEFAULTS.gateway.serviceType)
            .describe('Default: ClusterIP.'),
          annotations: labels('Annotations of the Service.'),
        })
        .prefault({})
        .describe('The Service in front; it has the name of the tunnel and a port for each local and dynamic forward.'),
      drainSeconds: z
        .int()
        .min(0)
        .max(3600)
        .default(DEFAULTS.gateway.drainSeconds)
        .describe(`Seconds that open connections get when a pod ends. Default: ${DEFAULTS.gateway.drainSeconds}.`),
      resources: resources(),
      runAsUser: runAsUser(),
      runAsUserStrategy: runAsUserStrategy(),
      podTemplate: podTemplate(),
    })
    .describe('The shared gateway: a Deployment and a Service (mode Gateway).');

export const workloads = () =>
  z
    .array(
      z.strictObject({
        kind: z.enum(['Deployment', 'StatefulSet', 'DaemonSet', 'CronJob']).describe('Kind of the workload.'),
        name: objectName().describe('Name of the workload, in the same namespace.'),
      }),
    )
    .max(32)
    .default([])
    .meta(listMap('kind', 'name'))
    .describe(
      'Workloads that the operator marks by itself. Only for authors who could edit them. Default: none; mark the pod templates yourself. At most 32.',
    );
