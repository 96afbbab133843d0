import type { Slot, TunnelDocument } from '../../src/api/document.ts';
import { documentOf } from '../../src/api/hand-over.ts';
import { errorText, parseSshTunnel } from '../../src/api/parse.ts';
import type { SshTunnel } from '../../src/api/ssh-tunnel.ts';
import type { Places } from '../../src/tunnel/ssh-args.ts';

/** A tunnel whose specification is the given one over the least that is valid; throws with the errors where it is refused. */
export const tunnelOf = (spec: { ssh?: object; [field: string]: unknown } = {}): SshTunnel => {
  const parsed = parseSshTunnel({
    apiVersion: 'autossh.dev/v1alpha1',
    kind: 'SshTunnel',
    metadata: { name: 'orders-db', namespace: 'shop', generation: 7 },
    spec: {
      forwards: [{ name: 'pg', local: { listen: { port: 5432 }, target: { host: 'db.internal', port: 5432 } } }],
      ...spec,
      ssh: {
        host: 'bastion.example.com',
        user: 'tunnel',
        identity: { secretRef: { name: 'bastion-key' } },
        knownHosts: { configMapRef: { name: 'bastion-hosts' } },
        ...spec.ssh,
      },
    },
  });
  if (!parsed.ok) throw new Error(parsed.errors.map(errorText).join('\n'));
  return parsed.value;
};

export const SLOTS: readonly Slot[] = ['target', 'hop-1', 'hop-2', 'hop-3', 'hop-4'];

/** Files for every slot in one directory, none of which need be there. */
export const placesIn = (dir: string): Places => ({
  logins: Object.fromEntries(SLOTS.map((slot) => [slot, { identityFile: `${dir}/${slot}.key` }])),
  knownHosts: Object.fromEntries(SLOTS.map((slot) => [slot, `${dir}/${slot}.known_hosts`])),
  configFile: `${dir}/ssh_config`,
});

export const documentWith = (spec?: Parameters<typeof tunnelOf>[0]): TunnelDocument => documentOf(tunnelOf(spec));
