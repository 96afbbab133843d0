import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';

/** The credentials cannot be used; the message says what was expected where. Trying again does not help. */
export class KubeConfigError extends Error {
  override readonly name = 'KubeConfigError';
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * Finds out how to speak to the API server, in the order of controller-runtime's config.GetConfig: a file named explicitly,
 * KUBECONFIG, the pod's service account, ~/.kube/config. Unlike client-node's loadFromDefault it never falls back to
 * http://localhost:8080. Throws KubeConfigError.
 */
export const loadKubeConfig = (
  env: Readonly<Record<string, string | undefined>>,
  options: { readonly file?: string | undefined; readonly context?: string | undefined } = {},
): KubeConfig => {
  const config = find(env, options.file);
  if (options.context !== undefined) config.setCurrentContext(options.context);
  const where = options.file ?? env['KUBECONFIG'] ?? 'the kubeconfig';
  const context = config.getContextObject(config.getCurrentContext());
  if (context === null)
    throw new KubeConfigError(
      `expected a current context in ${where}; got ${JSON.stringify(config.getCurrentContext() ?? null)}, known: ${config.getContexts().map((known) => known.name)}`,
    );
  const cluster = config.getCurrentCluster();
  if (cluster === null || !/^https?:\/\//.test(cluster.server ?? ''))
    throw new KubeConfigError(
      `expected cluster ${JSON.stringify(context.cluster)} in ${where} to have a server https://…; got ${JSON.stringify(cluster?.server ?? null)}`,
    );
  if (config.getCurrentUser() === null)
    throw new KubeConfigError(`expected user ${JSON.stringify(context.user)} in ${where}; got none of that name`);
  return config;
};

const find = (env: Readonly<Record<string, string | undefined>>, file: string | undefined): KubeConfig => {
  const named = file === undefined ? (env['KUBECONFIG'] ?? '').split(delimiter).filter(Boolean) : [file];
  if (named.length > 0) return fromFiles(named);
  if (env['KUBERNETES_SERVICE_HOST'] && existsSync(SERVICE_ACCOUNT_TOKEN)) {
    const config = new KubeConfig();
    config.loadFromCluster();
    return config;
  }
  const home = join(env['HOME'] ?? homedir(), '.kube', 'config');
  if (existsSync(home)) return fromFiles([home]);
  throw new KubeConfigError(
    `expected KUBECONFIG, a pod with a service account token (${SERVICE_ACCOUNT_TOKEN}) or ${home}; got none of them`,
  );
};

const fromFiles = (files: readonly string[]): KubeConfig => {
  const config = new KubeConfig();
  files.forEach((file, index) => {
    const one = index === 0 ? config : new KubeConfig();
    try {
      one.loadFromFile(file);
    } catch (cause) {
      // The first line alone: after it js-yaml shows the lines around the fault, and there may be a token among them.
      const [got = ''] = String(cause).split('\n');
      throw new KubeConfigError(`expected a readable kubeconfig at ${file}; got: ${got}`);
    }
    // client-node reads any YAML that is no mapping as a configuration without lists.
    if (one.clusters === undefined) throw new KubeConfigError(`expected a kubeconfig at ${file}; got no clusters`);
    if (one !== config) config.mergeConfig(one, true);
  });
  return config;
};
