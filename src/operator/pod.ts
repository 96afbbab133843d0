import type { KubeObject } from '../kube/object.ts';

/** The parts of a Pod that injection reads or writes. Everything else is carried along untouched, also what is newer than this. */
export type Pod = KubeObject & { readonly spec: PodSpec };

export type PodSpec = {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
  readonly hostNetwork?: boolean;
  readonly shareProcessNamespace?: boolean;
  readonly securityContext?: { readonly runAsUser?: number };
};

export type Container = {
  readonly name: string;
  readonly image?: string;
  readonly imagePullPolicy?: ImagePullPolicy;
  readonly args?: readonly string[];
  readonly env?: readonly PodEnvVar[];
  readonly ports?: readonly ContainerPort[];
  readonly resources?: Resources;
  readonly securityContext?: { readonly runAsUser?: number; readonly [field: string]: unknown };
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly volumeMounts?: readonly VolumeMount[];
  /** Of an init container: `Always` makes it a native sidecar. */
  readonly restartPolicy?: string;
  readonly terminationMessagePolicy?: string;
};

export type ImagePullPolicy = 'Always' | 'IfNotPresent' | 'Never';
export type PodEnvVar = { readonly name: string; readonly value?: string; readonly valueFrom?: unknown };
export type ContainerPort = { readonly name?: string; readonly containerPort: number; readonly protocol?: string };
export type Quantities = Readonly<Record<string, string | number>>;
export type Resources = { readonly requests?: Quantities; readonly limits?: Quantities };
export type VolumeMount = { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean };

/** Times in seconds. */
export type Probe = {
  readonly httpGet: { readonly path: string; readonly port: number };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
};

type Items = readonly { readonly key: string; readonly path: string }[];
export type Volume = {
  readonly name: string;
  readonly configMap?: {
    readonly name: string;
    readonly items: Items;
    readonly defaultMode: number;
    readonly optional: true;
  };
  readonly secret?: {
    readonly secretName: string;
    readonly items: Items;
    readonly defaultMode: number;
    readonly optional: true;
  };
  readonly emptyDir?: { readonly medium?: string; readonly sizeLimit?: string };
};
