import '../supervisor/sigusr1.ts';
import { HEALTH_PORT, pagePortOf } from '../api/names.ts';
import { superviseOne } from '../local/supervise-one.ts';
import { readArguments, readLogFormat, refuse, wholeNumber } from './arguments.ts';

const usage = `usage: autossh-operator run-one DIRECTORY --tunnel NAME [--http-port PORT] [--page-port PORT]
                                [--log-format json|pretty]

The process of one tunnel of "autossh-operator run", which starts it. It ends with its standard input,
and removes DIRECTORY then.
`;
const command = { command: 'run-one', usage };
const { values, positionals } = readArguments({
  ...command,
  options: {
    tunnel: { type: 'string', default: '' },
    'http-port': { type: 'string', default: String(HEALTH_PORT) },
    'page-port': { type: 'string', default: String(pagePortOf(HEALTH_PORT)) },
    'log-format': { type: 'string' },
  },
  positionals: 'DIRECTORY',
});
const [directory = '', ...rest] = positionals;
if (directory === '' || rest.length > 0)
  refuse('run-one', usage, `expected one DIRECTORY; got ${positionals.length} arguments`);
process.title = 'autossh';
void superviseOne({
  directory,
  tunnel: values.tunnel,
  port: wholeNumber(command, 'http-port', values['http-port'], [1, 65_535]),
  pagePort: wholeNumber(command, 'page-port', values['page-port'], [0, 65_535]),
  logFormat: readLogFormat(command, values['log-format']),
  version: process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'unknown',
}).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`autossh-operator: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
