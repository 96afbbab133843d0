import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Container, Pod } from '../../src/operator/pod.ts';
import { inject, injected, podAsking, tunnelsNamed } from '../support/pods.ts';

/** Ports of forwards, of the pod and of probes never meet, and neither do names: these pods can all be injected. */
const pool = ['a', 'a-b', 'b', 'key', 'n'.repeat(40)];
const arbitraryTunnel = (index: number) =>
  fc
    .record({
      order: fc.constantFrom('First', 'Last'),
      startup: fc.constantFrom('WaitForTunnel', 'Async'),
      podReadiness: fc.constantFrom('Ignore', 'Require'),
      runAsUserStrategy: fc.constantFrom('Fixed', 'ClusterAssigned'),
      hops: fc.integer({ min: 0, max: 4 }),
      env: fc.boolean(),
    })
    .map(({ hops, env, ...sidecar }) => ({
      sidecar,
      ssh: {
        jumpHosts: Array.from({ length: hops }, (_, hop) => ({
          host: `hop${hop}`,
          identity: { secretRef: { name: 'k' } },
        })),
      },
      forwards: [
        {
          name: 'pg',
          local: { listen: { port: 5000 + index }, target: { port: 1 } },
          ...(env ? { env: { hostVar: `HOST_${index}`, portVar: `PORT_${index}` } } : {}),
        },
      ],
    }));
const arbitraryContainer = fc.record(
  {
    image: fc.constant('app:1'),
    restartPolicy: fc.constant('Always'),
    env: fc.constant([{ name: 'OWN', value: '$(HOST_0)' }]),
    ports: fc.constant([{ name: 'http', containerPort: 8080 }]),
    volumeMounts: fc.constant([{ name: 'data', mountPath: '/data' }]),
    somethingNew: fc.anything(),
  },
  { requiredKeys: [] },
);
const containers = (prefix: string, minLength: number) =>
  fc
    .array(arbitraryContainer, { minLength, maxLength: 3 })
    .map((all) => all.map((one, index): Container => ({ name: `${prefix}-${index}`, ...one })));
const arbitrary = fc
  .record({
    tunnels: fc.tuple(...pool.map((_, index) => arbitraryTunnel(index))),
    asked: fc.subarray(pool, { minLength: 1 }).chain((some) => fc.shuffledSubarray(some, { minLength: some.length })),
    apps: containers('app', 1),
    inits: fc.option(containers('init', 0), { nil: undefined }),
    hostNetwork: fc.boolean(),
  })
  .map(({ tunnels, asked, apps, inits, hostNetwork }) => ({
    asked,
    tunnels: tunnelsNamed(Object.fromEntries(pool.map((name, index) => [name, tunnels[index]]))),
    pod: podAsking(asked, { containers: apps, hostNetwork, ...(inits === undefined ? {} : { initContainers: inits }) }),
  }));

const ours = ({ name }: { name: string }) => name.startsWith('autossh-');
const withoutEnv = ({ env: _, ...rest }: Container) => rest;

describe('injection, for all pods and tunnels that go together', () => {
  it('is the same bytes for the same inputs, in whatever order the annotations and the tunnels come', () => {
    fc.assert(
      fc.property(arbitrary, ({ pod, asked, tunnels }) => {
        const other: Pod = { ...pod, metadata: podAsking([...asked].reverse()).metadata };
        const reversed = new Map([...tunnels].reverse());
        const { metadata, ...rest } = injected(pod, tunnels);
        const { metadata: otherMetadata, ...otherRest } = injected(other, reversed);
        expect(JSON.stringify(otherRest)).toBe(JSON.stringify(rest));
        expect(otherMetadata).toEqual(metadata);
      }),
    );
  });

  it('twice is once', () => {
    fc.assert(
      fc.property(arbitrary, ({ pod, tunnels }) => {
        expect(inject(injected(pod, tunnels), tunnels)).toEqual({ kind: 'unchanged' });
      }),
    );
  });

  it('leaves what it was given as it was', () => {
    fc.assert(
      fc.property(arbitrary, ({ pod, tunnels }) => {
        const before = structuredClone(pod);
        injected(pod, tunnels);
        expect(pod).toEqual(before);
      }),
    );
  });

  it('changes nothing of the other containers but variables, and adds those in front', () => {
    fc.assert(
      fc.property(arbitrary, ({ pod, tunnels }) => {
        const after = injected(pod, tunnels);
        const pairs = (before: readonly Container[] = [], now: readonly Container[] = []) => {
          expect(now.map(withoutEnv)).toEqual(before.map(withoutEnv));
          now.forEach(({ env = [] }, index) => {
            const own = before[index]?.env ?? [];
            expect(env.slice(env.length - own.length)).toEqual(own);
            for (const { name } of env.slice(0, env.length - own.length)) expect(name).toMatch(/^(HOST|PORT)_\d$/);
          });
        };
        pairs(pod.spec.containers, after.spec.containers);
        pairs(
          pod.spec.initContainers,
          after.spec.initContainers?.filter((one) => !ours(one)),
        );
      }),
    );
  });

  it('gives each tunnel asked for one sidecar, First before all others and Last behind all other sidecars', () => {
    fc.assert(
      fc.property(arbitrary, ({ pod, asked, tunnels }) => {
        const all = injected(pod, tunnels).spec.initContainers ?? [];
        const order = (name: string) =>
          (tunnels.get(name)?.spec as { sidecar?: { order: string } } | undefined)?.sidecar?.order;
        const placed = (wanted: string) => [...asked].sort().filter((name) => order(name) === wanted);
        const [first, last] = [placed('First'), placed('Last')];
        const sidecars = all.filter(({ restartPolicy }) => restartPolicy === 'Always').map(({ name }) => name);
        expect(all.slice(0, first.length).map(({ name }) => name)).toEqual(first.map((name) => `autossh-${name}`));
        expect(sidecars.slice(sidecars.length - last.length)).toEqual(last.map((name) => `autossh-${name}`));
        expect(all.filter(ours)).toHaveLength(asked.length);
      }),
    );
  });

  it('makes names, ports and mounts that Kubernetes takes: unique, short, and each mount with its volume', () => {
    fc.assert(
      fc.property(arbitrary, ({ pod, tunnels }) => {
        const { initContainers = [], containers, volumes = [] } = injected(pod, tunnels).spec;
        const sidecars = initContainers.filter(ours);
        const unique = (all: readonly unknown[]) => expect(new Set(all).size).toBe(all.length);
        unique([...initContainers, ...containers].map(({ name }) => name));
        unique(volumes.map(({ name }) => name));
        const ports = sidecars.flatMap((one) => one.ports ?? []);
        unique(ports.map(({ name }) => name));
        unique(ports.map(({ containerPort }) => containerPort));
        for (const { name = '' } of ports) expect(name).toMatch(/^[a-z0-9-]{1,15}$/);
        for (const { name } of [...volumes, ...sidecars]) expect(name).toMatch(/^[a-z][a-z0-9-]{0,61}[a-z0-9]$/);
        for (const { volumeMounts = [] } of sidecars) {
          unique(volumeMounts.map(({ mountPath }) => mountPath));
          for (const mount of volumeMounts) expect(volumes.map(({ name }) => name)).toContain(mount.name);
        }
      }),
    );
  });
});
