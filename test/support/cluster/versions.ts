/**
 * Every version the harness pins, in one place.
 *
 * Kubernetes 1.35 is the last minor that takes containerd 1.x, which is what Debian 12 carries.
 * The Go module beside this file (binaries/kubernetes/go.mod) names the same version: `go mod tidy` there after a change here.
 */
export const kubernetesVersion = 'v1.35.4';
export const helmVersion = 'v4.3.1';
export const corednsVersion = 'v1.15.0';
/** Not a published version: raise it when binaries/pause changes, so that no stale build is taken from the cache. */
export const pauseVersion = 'v1';

export const pauseImage = `registry.k8s.io/pause:harness-${pauseVersion}`;
/** Debian's busybox-static under busybox's own name: shell, httpd, wget, nslookup, nc for pods in tests. */
export const busyboxImage = 'docker.io/library/busybox:stable';
