import '../supervisor/sigusr1.ts';
import { HEALTH_PORT, pagePortOf } from '../api/names.ts';
import { superviseResident } from '../supervisor/supervise-resident.ts';
import { readArguments, readLogFormat, wholeNumber } from './arguments.ts';

const usage = `usage: autossh-operator sidecar [--http-host ADDRESS] [--http-port PORT] [--page-port PORT]
                                [--log-format json|pretty] [--root DIRECTORY]

Keeps the tunnel of AUTOSSH_TUNNEL up until SIGTERM. The operator starts it in the pods that ask for one.

  --http-host ADDRESS   address for probes, metrics and status; default: all
  --http-port PORT      their port (${HEALTH_PORT})
  --page-port PORT      port on loopback of the page for a person; 0 is none (100 above --http-port)
  --log-format FORMAT   json or pretty; default: pretty on a terminal, else json
  --root DIRECTORY      where the volumes of the tunnel are mounted (/etc/autossh)
`;
const command = { command: 'sidecar', usage };
const { values } = readArguments({
  ...command,
  options: {
    'http-host': { type: 'string' },
    'http-port': { type: 'string', default: String(HEALTH_PORT) },
    'page-port': { type: 'string' },
    'log-format': { type: 'string' },
    root: { type: 'string' },
  },
});
const port = wholeNumber(command, 'http-port', values['http-port'], [1, 65_535]);
process.title = 'autossh';
void superviseResident({
  env: process.env,
  listen: { host: values['http-host'], port },
  pagePort:
    values['page-port'] === undefined
      ? pagePortOf(port)
      : wholeNumber(command, 'page-port', values['page-port'], [0, 65_535]),
  ...(values.root === undefined ? {} : { root: values.root }),
  logFormat: readLogFormat(command, values['log-format']),
  // The sidecar's own memory volume (render-sidecar.ts): it lives as long as the pod.
  stateDir: process.env['TMPDIR'],
  version: process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'unknown',
}).then((code) => process.exit(code));
