import { explain } from '../local/explain.ts';
import { readStreams } from '../local/read-streams.ts';
import { finish, readArguments, refuse } from './arguments.ts';
import { INPUT_OPTIONS, INPUT_USAGE, inputsOf } from './inputs.ts';

const usage = `usage: autossh-operator explain -f FILE… [--identity PATH] [--known-hosts PATH]

Shows what the tunnels of the files amount to, as a text that a shell can run: the ssh command line, the
configuration for jump hosts, and comments on heartbeat and retries. Keys and Secrets need not be there.

${INPUT_USAGE}
Exit code: 0, 1 where the files are refused, 2 for wrong arguments.
`;
const { values, positionals } = readArguments({
  command: 'explain',
  usage,
  options: INPUT_OPTIONS,
  positionals: 'FILE…',
});
const inputs = inputsOf(values, positionals);
if (inputs.files.length === 0) refuse('explain', usage, 'expected -f FILE; got none');
void readStreams(inputs).then((streams) => finish(explain({ ...inputs, streams })));
