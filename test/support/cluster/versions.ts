/**
 * Every version the harness pins, in one place.
 *
 * Kubernetes 1.35 is the last minor that takes containerd 1.x, which is what Debian 12 carries.
 * The Go module beside this file (binaries/kubernetes/go.mod) names the same version: `go mod tidy` there after a change here.
 */
export const kubernetesVersion = 'v1.35.4';
/** The oldest that the chart takes (kubeVersion); built from binaries/kubernetes-oldest. */
export const oldestKubernetesVersion = 'v1.30.14';
/** The newest there was; built from binaries/kubernetes-newest. */
export const newestKubernetesVersion = 'v1.37.2';
/** `KUBERNETES_VERSION=v1.30.14`: what API server the tests run on. The rest (kubectl, a node) stays of one version. */
export const apiServerVersion = chosen(process.env['KUBERNETES_VERSION'] || kubernetesVersion);
export const helmVersion = 'v4.3.1';
export const corednsVersion = 'v1.15.0';
/** Not a published version: raise it when binaries/pause changes, so that no stale build is taken from the cache. */
export const pauseVersion = 'v1';

export const pauseImage = `registry.k8s.io/pause:harness-${pauseVersion}`;
/** Debian's busybox-static under busybox's own name: shell, httpd, wget, nslookup, nc for pods in tests. */
export const busyboxImage = 'docker.io/library/busybox:stable';

/** A version that is not pinned here would be built of nothing, and a typing error must not test the default in silence. */
function chosen(version: string): string {
  const known = [oldestKubernetesVersion, kubernetesVersion, newestKubernetesVersion];
  if (!known.includes(version))
    throw new Error(`expected KUBERNETES_VERSION to be one of ${known.join(', ')}; got ${JSON.stringify(version)}`);
  return version;
}
