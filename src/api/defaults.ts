/**
 * Every default of an SshTunnel, in one place: the schema, the CRD, the sidecar and the documentation read them here. Times are in
 * seconds, as in the fields.
 */
export const DEFAULTS = {
  mode: 'Sidecar',
  suspend: false,
  port: 22,
  identityKey: 'ssh-privatekey',
  knownHostsKey: 'known_hosts',
  /** Where nobody named a host: the machine that the forward's far end is. */
  targetHost: 'localhost',
  compression: false,
  connectTimeoutSeconds: 10,
  serverAliveIntervalSeconds: 15,
  serverAliveCountMax: 3,
  addressFamily: 'Any',
  heartbeat: { method: 'Auto', periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 2, livenessDeadlineSeconds: 0 },
  probe: { periodSeconds: 30, timeoutSeconds: 5, path: '/' },
  retry: { networkMaxSeconds: 5, remotePortBusySeconds: 15, authMaxSeconds: 300 },
  /** AUTOSSH_GATETIME: a connection that lived this long is proven. */
  gateTimeSeconds: 30,
  /** AUTOSSH_MAXLIFETIME: 0 is for ever. */
  maxLifetimeSeconds: 0,
  /** AUTOSSH_LOGLEVEL: info, as syslog(3) counts. */
  logLevel: 6,
  runAsUserStrategy: 'Fixed',
  sidecar: {
    startup: 'WaitForTunnel',
    podReadiness: 'Ignore',
    order: 'First',
    rolloutStrategy: 'Workload',
  },
  gateway: { replicas: 2, drainSeconds: 30, serviceType: 'ClusterIP' },
} as const;
