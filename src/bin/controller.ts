import { runController } from '../operator/run-controller.ts';
import { createJsonLog } from '../telemetry/json-log.ts';
import { createSink } from '../telemetry/sink.ts';
import { readArguments, readLogFormat, refuse, wholeNumber } from './arguments.ts';

const LEVELS = { debug: 7, info: 6, warn: 4, error: 3 } as const;
const FLUSH_MS = 1_000;
const usage = `usage: autossh-operator controller --image IMAGE [OPTIONS]

Serves the webhook and reconciles SshTunnels. The chart starts it.

  --image IMAGE                  image of the sidecars
  --image-pull-policy POLICY     Always, IfNotPresent (the default) or Never
  --webhook-service NAME         Service in front of the webhook (autossh-operator)
  --webhook-configuration NAME   the MutatingWebhookConfiguration (autossh-operator)
  --certificate-secret NAME      Secret of the webhook's certificate (autossh-operator-certificate)
  --webhook-port PORT            9443
  --health-port PORT             8081
  --metrics-port PORT            8080
  --log-format FORMAT            json or pretty; default: pretty on a terminal, else json
`;
const command = { command: 'controller', usage };

const { values } = readArguments({
  ...command,
  options: {
    image: { type: 'string' },
    'image-pull-policy': { type: 'string', default: 'IfNotPresent' },
    'webhook-service': { type: 'string', default: 'autossh-operator' },
    'webhook-configuration': { type: 'string', default: 'autossh-operator' },
    'certificate-secret': { type: 'string', default: 'autossh-operator-certificate' },
    'webhook-port': { type: 'string', default: '9443' },
    'health-port': { type: 'string', default: '8081' },
    'metrics-port': { type: 'string', default: '8080' },
    'log-format': { type: 'string' },
  },
});
const { image, 'image-pull-policy': policy } = values;
const port = (name: 'webhook-port' | 'health-port' | 'metrics-port') =>
  wholeNumber(command, name, values[name], [0, 65_535]);
if (image === undefined) refuse('controller', usage, 'expected --image IMAGE of the sidecars; got none');
else if (policy !== 'Always' && policy !== 'IfNotPresent' && policy !== 'Never')
  refuse(
    'controller',
    usage,
    `--image-pull-policy: expected Always, IfNotPresent or Never; got ${JSON.stringify(policy)}`,
  );

const stderr = createSink(2);
const log = createJsonLog(stderr, { program: 'autossh-operator' }, readLogFormat(command, values['log-format']));
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
void runController(
  {
    env: process.env,
    version: process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'unknown',
    image,
    imagePullPolicy: policy,
    namespace: process.env['POD_NAMESPACE'] ?? 'autossh-system',
    instance: process.env['POD_NAME'] ?? `pid-${process.pid}`,
    webhookService: values['webhook-service'],
    webhookConfiguration: values['webhook-configuration'],
    certificateSecret: values['certificate-secret'],
    ports: {
      webhook: port('webhook-port'),
      health: port('health-port'),
      metrics: port('metrics-port'),
    },
  },
  stop.signal,
  (level, message, fields = {}) => log.line(LEVELS[level], message, fields as Record<string, string>),
).then(
  async (code) => {
    await stderr.flush(FLUSH_MS);
    process.exit(code);
  },
  async (error: unknown) => {
    log.line(3, 'ended by an error', { error: String(error) });
    await stderr.flush(FLUSH_MS);
    process.exit(1);
  },
);
