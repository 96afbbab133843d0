import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_DOCUMENT_BYTES, parseDocument } from '../../src/api/document.ts';
import { configMapData, containerEnv, documentOf, volumesOf } from '../../src/api/hand-over.ts';
import { parseSshTunnel } from '../../src/api/parse.ts';
import { pickResidentEnv, RESIDENT_ENV_NAMES, residentEnvProblem } from '../../src/api/resident-env.ts';
import { manifests } from '../support/manifests.ts';
import { tunnelOf } from '../support/tunnels.ts';

describe('what the controller hands over', () => {
  it.each(manifests('accepted').map((one) => [one.name, one] as const))(
    'the supervisor reads %s as it was meant',
    (_name, { object }) => {
      const parsed = parseSshTunnel(object);
      if (!parsed.ok) throw new Error('refused');
      const document = documentOf(parsed.value);
      expect(parseDocument(configMapData(parsed.value)['AUTOSSH_TUNNEL'] ?? '')).toEqual({
        ok: true,
        value: JSON.parse(JSON.stringify(document)),
      });
    },
  );

  it('fits into a variable even at every bound of the schema', () => {
    const host = `${'h'.repeat(63)}.${'h'.repeat(63)}.${'h'.repeat(63)}.${'h'.repeat(61)}`;
    const inline = '"'.repeat(4096);
    const list = `+${'a'.repeat(511)}`;
    const options = {
      hostKeyAlgorithms: list,
      pubkeyAcceptedAlgorithms: list,
      kexAlgorithms: list,
      ciphers: list,
      macs: list,
    };
    const login = { host, hostKeyAlias: host, user: 'u'.repeat(32), knownHosts: { inline }, options };
    const data = configMapData(
      tunnelOf({
        ssh: { ...login, jumpHosts: [1, 2, 3, 4].map(() => login) },
        forwards: Array.from({ length: 32 }, (_, index) => ({
          name: `${'f'.repeat(37)}-${String(index).padStart(2, '0')}`,
          local: {
            listen: { host: `${host.slice(0, -2)}x${index % 10}`, port: 1000 + index },
            target: { host, port: 5432 },
          },
          probe: { http: { path: `/${'p'.repeat(255)}`, host, expectedStatuses: Array<number>(16).fill(200) } },
        })),
      }),
    );
    const bytes = Buffer.byteLength(data['AUTOSSH_TUNNEL'] ?? '');
    expect(bytes).toBeGreaterThan(MAX_DOCUMENT_BYTES / 2);
    expect(parseDocument(data['AUTOSSH_TUNNEL'] ?? '').ok).toBe(true);
    expect(bytes).toBeLessThan(MAX_DOCUMENT_BYTES);
  });

  it('carries AUTOSSH_* of the closed list, and the typed period over AUTOSSH_POLL', () => {
    const env = { AUTOSSH_POLL: '60', AUTOSSH_LOGLEVEL: '7' };
    expect(configMapData(tunnelOf({ env }))).toMatchObject(env);
    expect(configMapData(tunnelOf({ env, heartbeat: { periodSeconds: 9 } }))).toMatchObject({ AUTOSSH_POLL: '9' });
    expect(Object.keys(configMapData(tunnelOf()))).toEqual(['AUTOSSH_TUNNEL']);
  });

  it('says a new word when an attempt is asked for now', () => {
    const tunnel = tunnelOf();
    const asked = { ...tunnel, metadata: { ...tunnel.metadata, annotations: { 'autossh.dev/retry': '2026-01-01' } } };
    expect(documentOf(tunnel)).not.toHaveProperty('retryToken');
    expect(documentOf(asked).retryToken).toBe('2026-01-01');
  });

  it('mounts what is referred to, and each login its own', () => {
    const tunnel = tunnelOf({
      ssh: {
        identity: { secretRef: { name: 'k', passphraseKey: 'pass' } },
        jumpHosts: [
          { host: 'a' },
          { host: 'b', identity: { secretRef: { name: 'edge' } }, knownHosts: { secretRef: { name: 'h' } } },
        ],
      },
      envFrom: [{ configMapRef: { name: 'mine' } }, { secretRef: { name: 'theirs' } }],
    });
    expect(
      volumesOf(tunnel).map(({ name, kind, objectName, mountPath }) => [name, kind, objectName, mountPath]),
    ).toEqual([
      ['config', 'ConfigMap', 'orders-db-autossh', '/etc/autossh/config'],
      ['identity-target', 'Secret', 'k', '/etc/autossh/identity/target'],
      ['identity-hop-2', 'Secret', 'edge', '/etc/autossh/identity/hop-2'],
      ['known-hosts-target', 'ConfigMap', 'bastion-hosts', '/etc/autossh/known-hosts/target'],
      ['known-hosts-hop-2', 'Secret', 'h', '/etc/autossh/known-hosts/hop-2'],
      ['env-0', 'ConfigMap', 'mine', '/etc/autossh/env/0'],
      ['env-1', 'Secret', 'theirs', '/etc/autossh/env/1'],
    ]);
    expect(documentOf(tunnel).jumpHosts.map(({ identity, knownHosts }) => [identity, knownHosts])).toEqual([
      ['target', 'target'],
      ['hop-2', 'hop-2'],
    ]);
    expect(documentOf(tunnel).identities).toEqual([
      { slot: 'target', passphrase: true, certificate: false },
      { slot: 'hop-2', passphrase: false, certificate: false },
    ]);
  });
});

describe('the closed list', () => {
  const DOORS = [
    'NODE_OPTIONS',
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'LD_AUDIT',
    'SSH_ASKPASS',
    'PATH',
    'AUTOSSH_PATH',
    'AUTOSSH_MAXSTART',
  ];

  it('is all that any ConfigMap or Secret can put before the supervisor', () => {
    const tunnel = tunnelOf({ envFrom: [{ configMapRef: { name: 'mine' } }, { secretRef: { name: 'theirs' } }] });
    const mounted = volumesOf(tunnel)
      .filter(({ name }) => name === 'config' || name.startsWith('env-'))
      .flatMap(({ items }) => items.flatMap(({ key, path }) => [key, path]));
    const env = containerEnv('orders-db');
    for (const name of [...mounted, ...env.filter(({ valueFrom }) => valueFrom).map(({ name }) => name)])
      expect(['AUTOSSH_TUNNEL', ...RESIDENT_ENV_NAMES]).toContain(name);
    expect(env).toContainEqual({ name: 'NODE_OPTIONS', value: '' });
    expect(new Set(env.map(({ name }) => name)).size).toBe(env.length);
  });

  it('is all that is picked from a directory of files', () => {
    const all = Object.fromEntries(
      [...DOORS, ...RESIDENT_ENV_NAMES, 'autossh_poll', '__proto__', '..data'].map((name) => [name, 'x']),
    );
    expect(Object.keys(pickResidentEnv(all)).sort()).toEqual([...RESIDENT_ENV_NAMES].sort());
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string()), (other) =>
        Object.keys(pickResidentEnv(other)).every((name) => RESIDENT_ENV_NAMES.some((known) => known === name)),
      ),
    );
  });

  it('never shows a refused value, which may have come from a Secret', () => {
    for (const name of RESIDENT_ENV_NAMES) expect(residentEnvProblem(name, 'hunter2\n') ?? '').not.toContain('hunter2');
    expect(residentEnvProblem('AUTOSSH_POLL', '5s')).toBe(
      'AUTOSSH_POLL: expected a whole number of seconds, 1-9999; got 2 characters that are something else',
    );
    expect(residentEnvProblem('AUTOSSH_POLL', '05')).toBeNull();
  });
});
