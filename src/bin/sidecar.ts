import '../supervisor/sigusr1.ts';
import { parseArgs } from 'node:util';
import { HEALTH_PORT } from '../api/names.ts';
import { superviseResident } from '../supervisor/supervise-resident.ts';

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    'http-host': { type: 'string' },
    'http-port': { type: 'string', default: String(HEALTH_PORT) },
    root: { type: 'string' },
  },
});
process.title = 'autossh';
void superviseResident({
  env: process.env,
  listen: { host: values['http-host'], port: Number(values['http-port']) },
  ...(values.root === undefined ? {} : { root: values.root }),
  // The sidecar's own memory volume (render-sidecar.ts): it lives as long as the pod.
  stateDir: process.env['TMPDIR'],
  version: process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'unknown',
}).then((code) => process.exit(code));
