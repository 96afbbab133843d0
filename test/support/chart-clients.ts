import { expect } from 'vitest';
import { CHART, type Manifest, NAMESPACE, objectsOf, RELEASE } from './chart.ts';
import type { ControlPlane } from './cluster/index.ts';

/** kubectl and helm that must succeed and have nothing to complain of; helm in the release's namespace. */
export const chartClients = (server: () => ControlPlane) => {
  const kubectl = async (args: readonly string[], input?: string): Promise<string> => {
    const { stdout, stderr, code } = await server().kubectl(args, input === undefined ? {} : { input });
    expect(`${code} ${stderr}`).toBe('0 ');
    return stdout;
  };
  const helm = async (...args: string[]): Promise<string> => {
    const { stdout, stderr, code } = await server().helm([...args, '--namespace', NAMESPACE]);
    expect(`${code} ${stderr}`).toBe('0 ');
    return stdout;
  };
  return {
    kubectl,
    helm,
    render: async (...args: string[]): Promise<Manifest[]> =>
      objectsOf(await helm('template', RELEASE, CHART, ...args)),
    /** The namespace as a careful administrator makes it. */
    makeNamespace: async () => {
      await kubectl(['create', 'namespace', NAMESPACE]);
      await kubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted']);
    },
  };
};
