import '../supervisor/sigusr1.ts';
import { HEALTH_PORT } from '../api/names.ts';
import { readStreams } from '../local/read-streams.ts';
import { run } from '../local/run.ts';
import { readArguments, readLogFormat, refuse, wholeNumber } from './arguments.ts';
import { INPUT_OPTIONS, INPUT_USAGE, inputsOf } from './inputs.ts';

const usage = `usage: autossh-operator run -f FILE… [--identity PATH] [--known-hosts PATH]

Keeps the tunnels of the files up on this machine, with no cluster, until Ctrl-C. An edit of a file is
applied at once; one that makes no sense is refused, and what runs stays.

${INPUT_USAGE}  --http-port PORT      first port of 127.0.0.1 to try for probes, metrics and status of a tunnel
                        (${HEALTH_PORT}); the log says which it got, and where its page is
  --log-format FORMAT   json or pretty; default: pretty on a terminal, else json

Exit code: 0 after a clean end, 1 where the files are refused, 2 for wrong arguments.
`;
const command = { command: 'run', usage };
const { values, positionals } = readArguments({
  ...command,
  options: { ...INPUT_OPTIONS, 'http-port': { type: 'string' }, 'log-format': { type: 'string' } },
  positionals: 'FILE…',
});
const inputs = inputsOf(values, positionals);
if (inputs.files.length === 0) refuse('run', usage, 'expected -f FILE; got none');
const httpPort = values['http-port'];
process.title = 'autossh-operator';
void readStreams(inputs)
  .then((streams) =>
    run({
      ...inputs,
      streams,
      httpPort: httpPort === undefined ? undefined : wholeNumber(command, 'http-port', httpPort, [1, 65_535]),
      logFormat: readLogFormat(command, values['log-format']),
      one: [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'run-one'],
      env: process.env,
    }),
  )
  .then(
    (code) => process.exit(code),
    (error: unknown) => {
      process.stderr.write(`autossh-operator run: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    },
  );
