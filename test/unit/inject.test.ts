import { describe, expect, it } from 'vitest';
import { pagePortOf } from '../../src/api/names.ts';
import { RESIDENT_ENV_NAMES } from '../../src/api/resident-env.ts';
import type { Pod } from '../../src/operator/pod.ts';
import { tunnelNamesOf } from '../../src/operator/tunnel-pod.ts';
import { IMAGE, inject, injected, podAsking, refusal, sidecarIn, tunnelsNamed } from '../support/pods.ts';

const local = (name: string, port: number, more: object = {}) => ({
  name,
  local: { listen: { port }, target: { host: 'db.internal', port: 5432 } },
  ...more,
});
const two = () => tunnelsNamed({ a: { forwards: [local('pg', 5001)] }, b: { forwards: [local('pg', 5002)] } });
const names = (pod: Pod) => (pod.spec.initContainers ?? []).map(({ name }) => name);

describe('the injected sidecar', () => {
  it('is this, of the least specification', () => {
    const pod = injected(podAsking(['orders-db']), tunnelsNamed({ 'orders-db': {} }));
    const key = (name: string) => ({
      name,
      valueFrom: { configMapKeyRef: { name: 'orders-db-autossh', key: name, optional: true } },
    });
    const keys = ['AUTOSSH_TUNNEL', ...RESIDENT_ENV_NAMES];
    const mount = (name: string, mountPath: string) => ({
      name: `autossh-orders-db-${name}`,
      mountPath,
      readOnly: true,
    });
    const probe = (path: string) => ({ httpGet: { path, port: 9322 }, timeoutSeconds: 5 });
    expect(pod.spec.initContainers).toEqual([
      {
        name: 'autossh-orders-db',
        image: IMAGE,
        args: ['autossh-operator', 'sidecar', '--http-port', '9322'],
        restartPolicy: 'Always',
        env: [{ name: 'NODE_OPTIONS', value: '' }, ...keys.map(key), { name: 'TMPDIR', value: '/run/autossh' }],
        ports: [{ name: 'autossh', containerPort: 9322, protocol: 'TCP' }],
        resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } },
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          readOnlyRootFilesystem: true,
          runAsNonRoot: true,
          runAsUser: 27222,
          runAsGroup: 27222,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        startupProbe: { ...probe('/startupz'), periodSeconds: 1, failureThreshold: 2147483647 },
        livenessProbe: { ...probe('/livez'), periodSeconds: 10, failureThreshold: 3 },
        terminationMessagePolicy: 'FallbackToLogsOnError',
        volumeMounts: [
          mount('config', '/etc/autossh/config'),
          mount('key-target', '/etc/autossh/identity/target'),
          mount('hosts-target', '/etc/autossh/known-hosts/target'),
          { name: 'autossh-orders-db-private', mountPath: '/run/autossh' },
          mount('no-token', '/var/run/secrets/kubernetes.io/serviceaccount'),
        ],
      },
    ]);
    const rest = { defaultMode: 0o444, optional: true };
    expect(pod.spec.volumes).toEqual([
      {
        name: 'autossh-orders-db-config',
        configMap: { name: 'orders-db-autossh', items: keys.map((name) => ({ key: name, path: name })), ...rest },
      },
      {
        name: 'autossh-orders-db-key-target',
        secret: { secretName: 'bastion-key', items: [{ key: 'ssh-privatekey', path: 'key' }], ...rest },
      },
      {
        name: 'autossh-orders-db-hosts-target',
        configMap: { name: 'bastion-hosts', items: [{ key: 'known_hosts', path: 'known_hosts' }], ...rest },
      },
      { name: 'autossh-orders-db-private', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
      { name: 'autossh-orders-db-no-token', emptyDir: {} },
    ]);
    expect(pod.spec.containers).toEqual([{ name: 'app', image: 'app:1' }]);
    expect(pod.metadata.annotations).toEqual({
      'tunnel.autossh.dev/orders-db': '',
      'sidecar.autossh.dev/orders-db': expect.stringMatching(/^[0-9a-f]{16}$/),
    });
  });

  const only = (sidecar: object, settings?: Parameters<typeof inject>[2]) =>
    sidecarIn(injected(podAsking(['a']), tunnelsNamed({ a: { sidecar } }), settings), 'a');

  it('has no startup probe with startup: Async', () => {
    expect(only({ startup: 'Async' })).not.toHaveProperty('startupProbe');
    expect(only({ startup: 'Async' })).toHaveProperty('livenessProbe');
  });

  it('has a readiness probe only where the pod shall depend on the tunnel', () => {
    expect(only({})).not.toHaveProperty('readinessProbe');
    expect(only({ podReadiness: 'Require' }).readinessProbe?.httpGet).toEqual({ path: '/readyz', port: 9322 });
  });

  it('leaves the uid to the cluster with ClusterAssigned, and to the tunnel otherwise', () => {
    const free = only({ runAsUserStrategy: 'ClusterAssigned' }).securityContext;
    expect(free).not.toHaveProperty('runAsUser');
    expect(free).not.toHaveProperty('runAsGroup');
    expect(free).toMatchObject({ runAsNonRoot: true });
    expect(only({ runAsUser: 31000 }).securityContext).toMatchObject({ runAsUser: 31000, runAsGroup: 31000 });
  });

  it('serves its health where the tunnel says', () => {
    const { args, ports, livenessProbe } = only({ healthPort: 20000 });
    expect(args?.at(-1)).toBe('20000');
    expect(ports?.[0]?.containerPort).toBe(20000);
    expect(livenessProbe?.httpGet.port).toBe(20000);
  });

  it("takes the tunnel's resources whole, else the operator's, else small ones", () => {
    const resources = { requests: { memory: '1Gi' } };
    expect(only({ resources }, { resources: { limits: { cpu: 1 } } }).resources).toEqual(resources);
    expect(only({}, { resources: { limits: { cpu: 1 } } }).resources).toEqual({ limits: { cpu: 1 } });
  });

  it('has the pull policy of the operator, and none where that has none', () => {
    expect(only({}, { imagePullPolicy: 'Never' }).imagePullPolicy).toBe('Never');
    expect(only({})).not.toHaveProperty('imagePullPolicy');
  });

  it('declares no ports in a pod of the host network', () => {
    const pod = injected(podAsking(['a'], { hostNetwork: true }), tunnelsNamed({ a: {} }));
    expect(sidecarIn(pod, 'a')).not.toHaveProperty('ports');
    expect(sidecarIn(pod, 'a').livenessProbe?.httpGet.port).toBe(9322);
  });

  it('has no status page in a pod of the host network, whose loopback is the whole node’s', () => {
    const pod = injected(podAsking(['a'], { hostNetwork: true }), tunnelsNamed({ a: {} }));
    expect(sidecarIn(pod, 'a').args?.slice(-2)).toEqual(['--page-port', '0']);
    expect(only({}).args).not.toContain('--page-port');
    expect([9322, 9323, 65435, 65436, 65535].map(pagePortOf)).toEqual([9422, 9423, 65535, 65336, 65435]);
  });

  it('has names within 63 characters, whatever the tunnel mounts', () => {
    const login = { identity: { secretRef: { name: 'k' } }, knownHosts: { secretRef: { name: 'h' } } };
    const name = 'n'.repeat(40);
    const jumpHosts = [1, 2, 3, 4].map((hop) => ({ host: `hop${hop}`, user: 'u', ...login }));
    const envFrom = Array.from({ length: 8 }, () => ({ secretRef: { name: 's' } }));
    const pod = injected(podAsking([name]), tunnelsNamed({ [name]: { ssh: { jumpHosts }, envFrom } }));
    const volumes = (pod.spec.volumes ?? []).map((volume) => volume.name);
    expect(volumes).toHaveLength(1 + 5 + 5 + 8 + 2);
    expect(new Set(volumes).size).toBe(volumes.length);
    for (const one of [...volumes, ...names(pod)]) expect(one.length).toBeLessThanOrEqual(63);
    expect(
      sidecarIn(pod, name)
        .volumeMounts?.map((mount) => mount.name)
        .sort(),
    ).toEqual([...volumes].sort());
  });
});

describe('several tunnels', () => {
  it('come in the order of their names, on ports of their own', () => {
    const pod = injected(podAsking(['b', 'a']), two());
    expect(names(pod)).toEqual(['autossh-a', 'autossh-b']);
    expect(pod.spec.initContainers?.map(({ ports }) => ports?.[0])).toEqual([
      { name: 'autossh', containerPort: 9322, protocol: 'TCP' },
      { name: 'autossh-2', containerPort: 9323, protocol: 'TCP' },
    ]);
    expect(tunnelNamesOf(podAsking(['b', 'a']))).toEqual(['a', 'b']);
  });

  const initContainers = [{ name: 'prepare' }, { name: 'mesh', restartPolicy: 'Always' }, { name: 'migrate' }];
  it('stand first, or behind the sidecars of others and before what comes after those', () => {
    const tunnels = tunnelsNamed({
      a: { forwards: [local('pg', 5001)], sidecar: { order: 'Last' } },
      b: { forwards: [local('pg', 5002)] },
    });
    expect(names(injected(podAsking(['a', 'b'], { initContainers }), tunnels))).toEqual([
      'autossh-b',
      'prepare',
      'mesh',
      'autossh-a',
      'migrate',
    ]);
    const plain = { initContainers: [{ name: 'mesh-init' }] };
    expect(names(injected(podAsking(['a'], plain), tunnels))).toEqual(['mesh-init', 'autossh-a']);
  });

  it('bring their pull secrets, each once', () => {
    const sidecar = { imagePullSecrets: [{ name: 'mine' }, { name: 'theirs' }] };
    const tunnels = tunnelsNamed({
      a: { forwards: [local('pg', 5001)], sidecar },
      b: { forwards: [local('pg', 5002)], sidecar },
    });
    const pod = injected(podAsking(['a', 'b'], { imagePullSecrets: [{ name: 'theirs' }] }), tunnels);
    expect(pod.spec.imagePullSecrets).toEqual([{ name: 'theirs' }, { name: 'mine' }]);
  });
});

describe('variables of the app', () => {
  const variablesOf = (listen: object, kind = 'local') => {
    const source = kind === 'local' ? { local: { listen, target: { port: 1 } } } : { dynamic: { listen } };
    const forwards = [{ name: 'pg', ...source, env: { hostVar: 'PGHOST', portVar: 'PGPORT' } }];
    const pod = injected(podAsking(['a']), tunnelsNamed({ a: { forwards } }));
    return Object.fromEntries(pod.spec.containers[0]?.env?.map(({ name, value }) => [name, value]) ?? []);
  };
  it.each([
    [{ port: 5432 }, { PGHOST: '127.0.0.1', PGPORT: '5432' }],
    [
      { host: 'localhost', port: 5432 },
      { PGHOST: 'localhost', PGPORT: '5432' },
    ],
    [
      { host: '127.0.0.2', port: 5432 },
      { PGHOST: '127.0.0.2', PGPORT: '5432' },
    ],
    [
      { host: '*', port: 5432 },
      { PGHOST: '127.0.0.1', PGPORT: '5432' },
    ],
    [
      { host: '0.0.0.0', port: 5432 },
      { PGHOST: '127.0.0.1', PGPORT: '5432' },
    ],
    [
      { host: '::', port: 5432 },
      { PGHOST: '::1', PGPORT: '5432' },
    ],
  ])('of a forward that listens on %j are %j', (listen, expected) => {
    expect(variablesOf(listen)).toEqual(expected);
    expect(variablesOf(listen, 'dynamic')).toEqual(expected);
  });

  const env = { hostVar: 'PGHOST', portVar: 'PGPORT' };
  const tunnels = () => tunnelsNamed({ a: { forwards: [local('pg', 5432, { env })] } });

  it('are in every container of the pod, before its own, and not in ours', () => {
    const url = { name: 'URL', value: 'postgres://$(PGHOST):$(PGPORT)/' };
    const pod = injected(
      podAsking(['a'], {
        containers: [{ name: 'app', env: [url] }, { name: 'other' }],
        initContainers: [{ name: 'migrate' }],
      }),
      tunnels(),
    );
    const ours = [
      { name: 'PGHOST', value: '127.0.0.1' },
      { name: 'PGPORT', value: '5432' },
    ];
    expect(pod.spec.containers.map((one) => one.env)).toEqual([[...ours, url], ours]);
    expect(pod.spec.initContainers?.[1]?.env).toEqual(ours);
    expect(sidecarIn(pod, 'a').env?.map(({ name }) => name)).not.toContain('PGHOST');
  });

  it('stay where the app has them with the same value', () => {
    const own = [
      { name: 'X', value: '1' },
      { name: 'PGPORT', value: '5432' },
    ];
    const pod = injected(podAsking(['a'], { containers: [{ name: 'app', env: own }] }), tunnels());
    expect(pod.spec.containers[0]?.env).toEqual([{ name: 'PGHOST', value: '127.0.0.1' }, ...own]);
  });
});

describe('a second call', () => {
  const env = { hostVar: 'PGHOST' };
  const tunnels = (port = 5432, sidecar: object = {}) =>
    tunnelsNamed({ a: { forwards: [local('pg', port, { env })], sidecar } });
  const once = injected(podAsking(['a']), tunnels());

  it('changes nothing', () => expect(inject(once, tunnels())).toEqual({ kind: 'unchanged' }));

  it('leaves its volumes where they are, before those that the API server has added', () => {
    const volumes = [...(once.spec.volumes ?? []), { name: 'kube-api-access-x7x7x' }];
    expect(inject({ ...once, spec: { ...once.spec, volumes } }, tunnels())).toEqual({ kind: 'unchanged' });
  });

  it('goes on with what another webhook made of the pod and of our container', () => {
    const mirrored = { ...sidecarIn(once, 'a'), image: 'mirror.example/autossh-operator:1.2.3', stdin: false };
    const pod = {
      ...once,
      spec: {
        ...once.spec,
        initContainers: [{ name: 'mesh-init' }, mirrored],
        containers: [...once.spec.containers, { name: 'mesh' }],
        volumes: [...(once.spec.volumes ?? []), { name: 'mesh' }],
      },
    };
    const again = injected(pod, tunnels());
    expect(again.spec.initContainers).toEqual([
      mirrored,
      { name: 'mesh-init', env: [{ name: 'PGHOST', value: '127.0.0.1' }] },
    ]);
    expect(again.spec.containers.map(({ env }) => env?.[0]?.name)).toEqual(['PGHOST', 'PGHOST']);
    expect(again.spec.volumes).toHaveLength(pod.spec.volumes.length);
    expect(inject(again, tunnels())).toEqual({ kind: 'unchanged' });
  });

  it('replaces the sidecar of a copied pod where the tunnel has become another', () => {
    const now = tunnels(5432, { startup: 'Async' });
    expect(injected(once, now)).toEqual(injected(podAsking(['a']), now));
  });

  it('keeps the volumes of others when it replaces a sidecar that another webhook gave them to', () => {
    const sidecar = sidecarIn(once, 'a');
    const volumeMounts = [...(sidecar.volumeMounts ?? []), { name: 'mesh', mountPath: '/mesh' }];
    const pod = {
      ...once,
      spec: {
        ...once.spec,
        initContainers: [{ ...sidecar, volumeMounts }],
        volumes: [...(once.spec.volumes ?? []), { name: 'mesh' }],
      },
    };
    const again = injected(pod, tunnels(5432, { startup: 'Async' }));
    expect(again.spec.volumes).toContainEqual({ name: 'mesh' });
    expect(again.spec.volumes).toHaveLength(pod.spec.volumes.length);
  });

  it('removes the sidecar of a copied pod that asks for another tunnel now', () => {
    const { metadata } = once;
    const annotations: Record<string, string> = { ...metadata.annotations, 'tunnel.autossh.dev/b': '' };
    delete annotations['tunnel.autossh.dev/a'];
    const pod = injected({ ...once, metadata: { ...metadata, annotations } }, tunnelsNamed({ b: {} }));
    expect(names(pod)).toEqual(['autossh-b']);
    expect(pod.spec.volumes).toEqual(injected(podAsking(['b']), tunnelsNamed({ b: {} })).spec.volumes);
    expect(Object.keys(pod.metadata.annotations ?? {})).toEqual(['tunnel.autossh.dev/b', 'sidecar.autossh.dev/b']);
  });
});

describe('a pod that cannot have its tunnels', () => {
  const one = (forwards: object[] = [local('pg', 5432)], more: object = {}) =>
    tunnelsNamed({ a: { forwards, ...more } });
  const app = (more: object) => ({ containers: [{ name: 'app', ...more }] });
  const env = { hostVar: 'DB_HOST' };
  const gateway = { mode: 'Gateway', gateway: { allowFrom: [{ podSelector: {} }] } };

  it.each<[string, Pod, ReturnType<typeof one>, string[]]>([
    [
      'names none',
      podAsking([]),
      one(),
      ['no annotation names a tunnel: add tunnel.autossh.dev/<name of an SshTunnel>: ""'],
    ],
    ['names an unknown one', podAsking(['b']), one(), ['there is no SshTunnel "b" in namespace "shop": create it']],
    ['names a gateway', podAsking(['a']), one(undefined, gateway), ['SshTunnel "a" is a gateway', 'a.shop:5432']],
    [
      'has a container of that name',
      podAsking(['a'], app({ name: 'autossh-a' })),
      one(),
      ['container "autossh-a" of its own'],
    ],
    [
      'has a volume of that name',
      podAsking(['a'], { volumes: [{ name: 'autossh-a-config' }] }),
      one(),
      ['volume "autossh-a-config"'],
    ],
    [
      'has a port of that name',
      podAsking(['a'], app({ ports: [{ name: 'autossh', containerPort: 1 }] })),
      one(),
      ['port named "autossh"'],
    ],
    [
      'listens on the port of a forward',
      podAsking(['a'], app({ ports: [{ containerPort: 5432 }] })),
      one(),
      [
        'port 5432 is wanted by forward "pg" of tunnel "a" and by container "app": give the forward another listen.port',
      ],
    ],
    [
      'listens on the port of the probes',
      podAsking(['a'], app({ ports: [{ containerPort: 9322 }] })),
      one(),
      ['port 9322 is wanted by the probes of tunnel "a" and by container "app": set sidecar.healthPort'],
    ],
    [
      'listens on the port of the status page',
      podAsking(['a'], app({ ports: [{ containerPort: 9422 }] })),
      one(),
      ['port 9422 is wanted by the status page of tunnel "a"', 'and by container "app": set sidecar.healthPort'],
    ],
    [
      'has a forward on the port of the status page',
      podAsking(['a']),
      one([local('pg', 9422)]),
      ['port 9422 is wanted by forward "pg" of tunnel "a" and by the status page of tunnel "a"'],
    ],
    [
      'has two tunnels of which one has its probes where the other has its page',
      podAsking(['a', 'b']),
      tunnelsNamed({ a: {}, b: { sidecar: { healthPort: 9422 }, forwards: [local('pg', 1)] } }),
      ['port 9422 is wanted by the status page of tunnel "a"', 'and by the probes of tunnel "b"'],
    ],
    [
      'has a forward on the port of the probes',
      podAsking(['a']),
      one([local('pg', 9322)]),
      ['port 9322 is wanted by forward "pg" of tunnel "a" and by the probes of tunnel "a"'],
    ],
    [
      'has two tunnels on one port',
      podAsking(['a', 'b']),
      tunnelsNamed({ a: {}, b: {} }),
      ['port 5432 is wanted by forward "pg" of tunnel "a" and by forward "pg" of tunnel "b"'],
    ],
    [
      'has two tunnels whose probes meet',
      podAsking(['a', 'b']),
      tunnelsNamed({ a: { sidecar: { healthPort: 9323 } }, b: { forwards: [local('pg', 1)] } }),
      ['port 9323 is wanted by the probes of tunnel "a" and by the probes of tunnel "b"'],
    ],
    [
      'has two tunnels with one variable',
      podAsking(['a', 'b']),
      tunnelsNamed({ a: { forwards: [local('x', 1, { env })] }, b: { forwards: [local('y', 2, { env })] } }),
      ['variable DB_HOST is set by forward "x" of tunnel "a" and by forward "y" of tunnel "b"'],
    ],
    [
      'has the variable',
      podAsking(['a'], app({ env: [{ name: 'DB_HOST', value: 'db' }] })),
      one([local('pg', 1, { env })]),
      ['variable DB_HOST is set by forward "pg" of tunnel "a" and, to something else, by container "app"'],
    ],
    [
      'has the variable from elsewhere',
      podAsking(['a'], app({ env: [{ name: 'DB_HOST', valueFrom: {} }] })),
      one([local('pg', 1, { env })]),
      ['variable DB_HOST'],
    ],
    [
      'could read the key',
      podAsking(['a'], { shareProcessNamespace: true, securityContext: { runAsUser: 27222 } }),
      one(),
      ['uid 27222 of tunnel "a"', 'set sidecar.runAsUser'],
    ],
  ])('because it %s', (_why, pod, tunnels, parts) => {
    const message = refusal(pod, tunnels);
    expect(message).toMatch(/^autossh-operator cannot give this pod its tunnels: /);
    for (const part of parts) expect(message).toContain(part);
    expect(message.split('; ')).toHaveLength(1);
  });

  it('because a tunnel is not valid, whatever its status', () => {
    const tunnels = one();
    const [raw] = [...tunnels.values()];
    const pod = podAsking(['a']);
    expect(refusal(pod, new Map([['a', { ...raw, spec: { ...(raw?.spec as object), forwards: [] } }]]))).toContain(
      'SshTunnel "a" is not valid, correct it: spec.forwards: Invalid value',
    );
    expect(inject(pod, new Map([['a', { ...raw, status: { from: 'the future' } }]])).kind).toBe('patched');
  });

  it.each<[string, Pod, ReturnType<typeof one>]>([
    ['UDP on the same port', podAsking(['a'], app({ ports: [{ containerPort: 5432, protocol: 'UDP' }] })), one()],
    [
      'forwards on different addresses',
      podAsking(['a', 'b']),
      tunnelsNamed({
        a: { forwards: [local('x', 1)] },
        b: { forwards: [{ name: 'y', local: { listen: { host: '127.0.0.2', port: 1 }, target: { port: 1 } } }] },
      }),
    ],
    [
      'remote forwards on the same port',
      podAsking(['a'], app({ ports: [{ containerPort: 8080 }] })),
      one([{ name: 'r', remote: { listen: { port: 8080 }, target: { port: 8080 } } }]),
    ],
    [
      'a port 9422 beside a tunnel on the host network',
      podAsking(['a'], { hostNetwork: true, ...app({ ports: [{ containerPort: 9422 }] }) }),
      one(),
    ],
    [
      'a forward to another loopback address on the port of the status page',
      podAsking(['a']),
      one([{ name: 'y', local: { listen: { host: '127.0.0.2', port: 9422 }, target: { port: 1 } } }]),
    ],
    [
      'a port named autossh beside a tunnel on the host network',
      podAsking(['a'], { hostNetwork: true, ...app({ ports: [{ name: 'autossh', containerPort: 1 }] }) }),
      one(),
    ],
    [
      'the same uid in process namespaces of their own',
      podAsking(['a'], { securityContext: { runAsUser: 27222 } }),
      one(),
    ],
    [
      'a shared process namespace with another uid',
      podAsking(['a'], {
        shareProcessNamespace: true,
        containers: [{ name: 'app', securityContext: { runAsUser: 1000 } }],
        securityContext: { runAsUser: 27222 },
      }),
      one(),
    ],
  ])('but not because of %s', (_what, pod, tunnels) => expect(inject(pod, tunnels).kind).toBe('patched'));

  it('hears everything at once, each thing once', () => {
    const message = refusal(
      podAsking(['a', 'b', 'c', 'd'], app({ ports: [{ containerPort: 5432 }, { containerPort: 5432 }] })),
      tunnelsNamed({ a: {}, b: gateway, d: {} }),
    );
    const problems = message.split('; ');
    expect(problems).toHaveLength(5);
    for (const part of [
      'gateway',
      'no SshTunnel "c"',
      'tunnel "a" and by forward "pg" of tunnel "d"',
      '"a" and by container',
      '"d" and by container',
    ])
      expect(problems.filter((problem) => problem.includes(part))).toHaveLength(1);
  });

  it('is left alone without the label', () => {
    const pod = podAsking(['a']);
    expect(inject({ ...pod, metadata: { ...pod.metadata, labels: {} } }, one())).toEqual({ kind: 'unchanged' });
  });
});
