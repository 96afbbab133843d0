import '../supervisor/sigusr1.ts';
import { HEALTH_PORT } from '../api/names.ts';
import { superviseResident } from '../supervisor/supervise-resident.ts';
import { readArguments, wholeNumber } from './arguments.ts';

const usage = `usage: autossh-operator sidecar [--http-host ADDRESS] [--http-port PORT] [--root DIRECTORY]

Keeps the tunnel of AUTOSSH_TUNNEL up until SIGTERM. The operator starts it in the pods that ask for one.

  --http-host ADDRESS   address for probes, metrics and status; default: all
  --http-port PORT      their port (${HEALTH_PORT})
  --root DIRECTORY      where the volumes of the tunnel are mounted (/etc/autossh)
`;
const command = { command: 'sidecar', usage };
const { values } = readArguments({
  ...command,
  options: {
    'http-host': { type: 'string' },
    'http-port': { type: 'string', default: String(HEALTH_PORT) },
    root: { type: 'string' },
  },
});
process.title = 'autossh';
void superviseResident({
  env: process.env,
  listen: { host: values['http-host'], port: wholeNumber(command, 'http-port', values['http-port'], [1, 65_535]) },
  ...(values.root === undefined ? {} : { root: values.root }),
  version: process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'unknown',
}).then((code) => process.exit(code));
