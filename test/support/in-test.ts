import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { type Autossh, type AutosshOptions, startAutossh } from './autossh.ts';
import { type Service, startService } from './echo.ts';
import { type NetPath, startNetPath } from './netns.ts';
import { type Relay, startRelay } from './relay.ts';
import { type Resident, startResident } from './resident.ts';
import { type Sshd, startSshd } from './sshd.ts';

type InTest = Pick<TestContext, 'onTestFinished'>;

/** An autossh for one test: stopped at its end, which proves that nothing is left of it. */
export const autosshIn = ({ onTestFinished }: InTest, options: AutosshOptions): Autossh => {
  const autossh = startAutossh(options);
  onTestFinished(() => autossh.stop());
  return autossh;
};

/** An sshd for one test. */
export const sshdIn = async ({ onTestFinished }: InTest, ...options: Parameters<typeof startSshd>): Promise<Sshd> => {
  const sshd = await startSshd(...options);
  onTestFinished(() => sshd.stop());
  return sshd;
};

/** A service for one test. */
export const serviceIn = async (
  { onTestFinished }: InTest,
  ...options: Parameters<typeof startService>
): Promise<Service> => {
  const service = await startService(...options);
  onTestFinished(() => service.stop());
  return service;
};

/** For one test: a network path, an sshd at its far end, and an echo service on a unix socket, which both ends can reach. */
export const networkIn = async (
  context: InTest,
  config: string[] = [],
  keyOptions = '',
): Promise<{ path: NetPath; sshd: Sshd; service: Service }> => {
  const path = await startNetPath();
  context.onTestFinished(() => path.stop());
  const { serverAddress: host } = path;
  const sshd = await sshdIn(context, { host, port: 22, wrap: path.at('server'), config, keyOptions });
  const service = await serviceIn(context, { path: join(sshd.dir, 'service') });
  return { path, sshd, service };
};

/** A sidecar for one test. */
export const residentIn = async (
  { onTestFinished }: InTest,
  ...options: Parameters<typeof startResident>
): Promise<Resident> => {
  const resident = await startResident(...options);
  onTestFinished(async () => void (await resident.stop()));
  return resident;
};

/** The same sshd behind a stretch of network that can be cut. */
export const behindRelay = async ({ onTestFinished }: InTest, sshd: Sshd): Promise<{ relay: Relay; sshd: Sshd }> => {
  const relay = await startRelay({ host: sshd.host, port: sshd.port });
  onTestFinished(() => relay.close());
  const knownHosts = join(sshd.dir, `known_hosts_${relay.port}`);
  writeFileSync(knownHosts, readFileSync(sshd.knownHosts, 'utf8').replace(`:${sshd.port} `, `:${relay.port} `));
  return { relay, sshd: { ...sshd, port: relay.port, knownHosts } };
};
