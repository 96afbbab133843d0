import { knownHosts } from '../local/known-hosts.ts';
import { finish, readArguments, refuse, wholeNumber } from './arguments.ts';

const usage = `usage: autossh-operator known-hosts HOST[:PORT]… [--name NAME] [-n NAMESPACE]

Asks SSH servers for their host keys (ssh-keyscan) and writes a ConfigMap for knownHosts.configMapRef to
stdout, ready for "kubectl apply -f -" and for "autossh-operator run -f". The fingerprints go to stderr:
compare them at the server before you trust them.

  --name NAME           name of the ConfigMap (known-hosts)
  -n, --namespace NS    its namespace; default: none is written
  --timeout SECONDS     how long a host may take to answer (5)

Exit code: 0, 1 where any host gave no key, 2 for wrong arguments.
`;
const command = { command: 'known-hosts', usage };
const { values, positionals } = readArguments({
  ...command,
  options: {
    name: { type: 'string', default: 'known-hosts' },
    namespace: { type: 'string', short: 'n' },
    timeout: { type: 'string', default: '5' },
  },
  positionals: 'HOST…',
});
if (positionals.length === 0) refuse('known-hosts', usage, 'expected HOST or HOST:PORT; got none');
void knownHosts({
  hosts: positionals,
  name: values.name,
  namespace: values.namespace,
  timeoutSeconds: wholeNumber(command, 'timeout', values.timeout, [1, 60]),
}).then(finish);
