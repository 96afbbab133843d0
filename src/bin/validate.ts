import { readStreams } from '../local/read-streams.ts';
import { validate } from '../local/validate.ts';
import { finish, readArguments, refuse } from './arguments.ts';
import { INPUT_OPTIONS, INPUT_USAGE, inputsOf } from './inputs.ts';

const usage = `usage: autossh-operator validate -f FILE… [--for run|cluster] [-o text|json]

Judges files as "autossh-operator run" and the API server would, and starts nothing. Every violation
has its file, line and column, document, field, what was expected and what came.

${INPUT_USAGE}  --for run|cluster     run (the default): what a tunnel refers to must be among the files, and no two
                        tunnels may listen in the same place. cluster: both are left to the cluster
  -o, --output FORMAT   text (the default) or json

Exit code: 0 where all is well, 1 where anything is wrong, 2 for wrong arguments.
`;
const { values, positionals } = readArguments({
  command: 'validate',
  usage,
  options: {
    ...INPUT_OPTIONS,
    for: { type: 'string', default: 'run' },
    output: { type: 'string', short: 'o', default: 'text' },
  },
  positionals: 'FILE…',
});
const inputs = inputsOf(values, positionals);
const { for: purpose, output } = values;
if (inputs.files.length === 0) refuse('validate', usage, 'expected -f FILE; got none');
else if (purpose !== 'run' && purpose !== 'cluster')
  refuse('validate', usage, `--for: expected run or cluster; got ${JSON.stringify(purpose)}`);
else if (output !== 'text' && output !== 'json')
  refuse('validate', usage, `--output: expected text or json; got ${JSON.stringify(output)}`);
else void readStreams(inputs).then((streams) => finish(validate({ ...inputs, streams, purpose, output })));
