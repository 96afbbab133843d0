import { DEFAULTS } from '../../src/api/defaults.ts';
import { REASON_HELP, REASONS } from '../../src/api/reasons.ts';
import { pauseBounds, retryClass } from '../../src/tunnel/backoff.ts';
import type { RetryClass } from '../../src/tunnel/machine.ts';

const seconds = (ms: number): string => `${ms / 1000} s`;
const range = (kind: RetryClass, attempt: number): string => {
  const { min, max } = pauseBounds(kind, attempt, DEFAULTS.retry);
  return `${seconds(min)} to ${seconds(max)}`;
};

const FIELDS: Readonly<Record<RetryClass, string>> = {
  network: 'networkMaxSeconds',
  port: 'remotePortBusySeconds',
  auth: 'authMaxSeconds',
};
const ABOUT: Readonly<Record<RetryClass, string>> = {
  network: 'what the network does, it mends by itself',
  port: 'a port that is held comes free at some time that nobody tells',
  auth: 'what a person has to mend, or a server punishes when it is asked often',
};

/** docs/reasons.md, from the constants that the programs run on. */
export const reasonsDocument = (): string => `<!-- Generated from src by "npm run generate"; do not edit. -->

# Reasons

Why a tunnel has no connection, or has just lost one. The same word stands in the conditions of the SshTunnel, in \`/status\`, in the log
(\`reason\`), and in the metric \`autossh_disconnects_total\` (label \`reason\`). The set is closed.

| Reason | What it means | What to do | Retry |
| --- | --- | --- | --- |
${REASONS.map((reason) => {
  const [means = '', act = ''] = REASON_HELP[reason].split(/: (.*)/);
  return `| \`${reason}\` | ${means}. | ${act.charAt(0).toUpperCase()}${act.slice(1)} | ${retryClass(reason)} |`;
}).join('\n')}

## Retries

A sidecar never gives up. How soon it tries again depends on the reason. A connection that lived for \`AUTOSSH_GATETIME\` (${DEFAULTS.gateTimeSeconds} s) is
replaced at once when it ends. Otherwise the pause is drawn between two bounds, which grow with each failure of
the same class (a port is asked for at a steady pace):

| Class | First pause | Longest pause | Bound in \`spec.retry\` | Because |
| --- | --- | --- | --- | --- |
${(['network', 'port', 'auth'] as const)
  .map((kind) => `| ${kind} | ${range(kind, 1)} | ${range(kind, 31)} | \`${FIELDS[kind]}\` | ${ABOUT[kind]} |`)
  .join('\n')}

While it waits, a change of the keys, of the host keys or of the specification is tried at once, without waiting for the pause to end.

## Keys

ssh says "Permission denied" for whatever is wrong with a key. So each key is looked at before ssh is started, with \`ssh-keygen\`:

- a key that is missing, cut short, in another format, public, or encoded twice; Windows' ends of line and a missing last one are mended;
- a key with a passphrase: with \`passphraseKey\` it is opened into an ssh-agent that belongs to this supervisor alone;
- a certificate that is not yet valid, not valid any more, for hosts, or of another key.

Principals of a certificate are not judged here, since the server may map them (\`AuthorizedPrincipalsFile\`). When it refuses the key, the log shows
the fingerprint of what was offered and the principals it is certified for.
`;
