import { spawnSync } from 'node:child_process';
import { kubernetesVersion, newestKubernetesVersion, oldestKubernetesVersion } from './cluster/versions.ts';

/**
 * The suites of the API, of reconciling, of injection and of the chart on every version of kube-apiserver that the harness pins, the
 * oldest and the newest among them. A version's first run builds it (minutes). Other suites may be named on the command line.
 */
const named = process.argv.slice(2);
const suites =
  named.length > 0 ? named : ['api', 'reconcile-tunnel', 'inject', 'chart'].map((name) => `test/kube/${name}.test.ts`);
const results = [oldestKubernetesVersion, kubernetesVersion, newestKubernetesVersion].map((version) => {
  console.log(`--- kube-apiserver ${version}: ${suites.join(' ')}`);
  const { status } = spawnSync(process.execPath, ['test/support/test.ts', '--project', 'kube', ...suites], {
    stdio: 'inherit',
    // Not one of another version that lies about: this run is about versions.
    env: { ...process.env, KUBERNETES_VERSION: version, KUBEBUILDER_ASSETS: '' },
  });
  return { version, passed: status === 0 };
});
console.log('--- in all');
for (const { version, passed } of results) console.log(`kube-apiserver ${version}: ${passed ? 'passed' : 'FAILED'}`);
process.exit(results.every(({ passed }) => passed) ? 0 : 1);
