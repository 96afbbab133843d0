import { parseArgs } from 'node:util';
import { runController } from '../operator/run-controller.ts';
import { createJsonLog } from '../telemetry/json-log.ts';
import { createSink } from '../telemetry/sink.ts';

const LEVELS = { debug: 7, info: 6, warn: 4, error: 3 } as const;
const FLUSH_MS = 1_000;

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    image: { type: 'string' },
    'image-pull-policy': { type: 'string', default: 'IfNotPresent' },
    'webhook-service': { type: 'string', default: 'autossh-operator' },
    'webhook-configuration': { type: 'string', default: 'autossh-operator' },
    'certificate-secret': { type: 'string', default: 'autossh-operator-certificate' },
    'webhook-port': { type: 'string', default: '9443' },
    'health-port': { type: 'string', default: '8081' },
    'metrics-port': { type: 'string', default: '8080' },
  },
});
const { image, 'image-pull-policy': policy } = values;
if (image === undefined || (policy !== 'Always' && policy !== 'IfNotPresent' && policy !== 'Never')) {
  process.stderr.write(
    'autossh-operator controller: expected --image=IMAGE of the sidecars and --image-pull-policy=Always|IfNotPresent|Never\n',
  );
  process.exit(2);
}

const stderr = createSink(2);
const log = createJsonLog(stderr, { program: 'autossh-operator' });
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
      webhook: Number(values['webhook-port']),
      health: Number(values['health-port']),
      metrics: Number(values['metrics-port']),
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
