import '../supervisor/sigusr1.ts';
import { parseArgs } from 'node:util';
import { HEALTH_PORT, pagePortOf } from '../api/names.ts';
import { superviseResident } from '../supervisor/supervise-resident.ts';
import { logFormat } from '../telemetry/pretty-log.ts';

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    'http-host': { type: 'string' },
    'http-port': { type: 'string', default: String(HEALTH_PORT) },
    // On loopback only; 0 is none. Default: 100 above --http-port.
    'page-port': { type: 'string' },
    // Default: pretty where stderr is a terminal, else json.
    'log-format': { type: 'string' },
    root: { type: 'string' },
  },
});
const port = Number(values['http-port']);
process.title = 'autossh';
void superviseResident({
  env: process.env,
  listen: { host: values['http-host'], port },
  pagePort: Number(values['page-port'] ?? pagePortOf(port)),
  ...(values.root === undefined ? {} : { root: values.root }),
  logFormat: logFormat(values['log-format'], process.stderr.isTTY),
  version: process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'unknown',
}).then((code) => process.exit(code));
