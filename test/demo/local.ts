import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, get, type Server } from 'node:http';
import { parseArgs } from 'node:util';
import { LineSplitter } from '../../src/tunnel/lines.ts';
import { freePort } from '../support/port.ts';
import { descendantsOf, isAlive, type Process, processOf, signal } from '../support/processes.ts';
import { type Relay, startRelay } from '../support/relay.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';
import { playManifest } from './manifest.ts';

/**
 * The drop-in on one machine: a private sshd, a service that only it reaches, a tunnel kept by our `autossh`, and four ways to
 * break it. Every recovery is proven by bytes that went through the forward. Then a manifest without a cluster (manifest.ts).
 * `--keep` leaves both running to play with.
 */
const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const POLL_SECONDS = 3;
/** What stays while the manifest is played does not beat aloud. */
let hasTheStage = true;
const GREETING = 'hello from behind the bastion\n';

type Stage = { sshd: Sshd; service: Server; relay: Relay; local: number; command: string[] };
type Autossh = { child: ChildProcess; lines: string[]; exited: Promise<number | null> };

const say = (text = '') => console.log(text);
const title = (text: string) => say(`\n== ${text}`);
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;

const main = async (): Promise<void> => {
  title('A service that is reached only through a bastion');
  const stage = await setStage();
  const started = performance.now();
  title('autossh in the place of ssh');
  say(`   $ AUTOSSH_POLL=${POLL_SECONDS} AUTOSSH_DEBUG=1 ${stage.command.join(' ')}`);
  const autossh = startAutossh(stage);
  try {
    await breakIt(stage, autossh, started);
    if (options.keep) {
      title('It stays, until all of it ends. Try, in another terminal:');
      say(
        `   curl http://127.0.0.1:${stage.local}/          # through the tunnel of autossh, pid ${autossh.child.pid}`,
      );
      hasTheStage = false;
      await playManifest(options);
    }
  } finally {
    await end(stage, autossh);
  }
  if (!options.keep) await playManifest(options);
};

const breakIt = async (stage: Stage, autossh: Autossh, started: number): Promise<void> => {
  await bytesGoThrough(stage.local, autossh);
  say(
    `   -> up: GET http://127.0.0.1:${stage.local}/ answered ${seconds(performance.now() - started)} after the start`,
  );

  title(`Heartbeats: every ${POLL_SECONDS} s a text out through the server and back`);
  const beats = () => autossh.lines.filter((line) => line.includes('connection ok')).length;
  await until('two heartbeats', () => beats() >= 2, { state: () => autossh.lines.join('\n') });

  const results = [
    await recover('ssh ended by SIGTERM', stage, autossh, (ssh) => signal(ssh, 'SIGTERM')),
    await recover('ssh killed by SIGKILL', stage, autossh, (ssh) => signal(ssh, 'SIGKILL')),
    await recover('ssh frozen by SIGSTOP', stage, autossh, (ssh) => signal(ssh, 'SIGSTOP')),
    await recover('path cut, nobody told', stage, autossh, () => stage.relay.blackHole()),
  ];
  title('Recovered');
  for (const { fault, ms } of results)
    say(`   ${fault.padEnd(24)} bytes through the tunnel again after ${seconds(ms)}`);
  say(
    `   A death is seen at once; a silent stall by the next heartbeat (every ${POLL_SECONDS} s, here with 1.5 s to answer).`,
  );
  say('   A frozen ssh gets 5 s more to follow SIGTERM before it is killed.');
};

const setStage = async (): Promise<Stage> => {
  const sshd = await startSshd();
  const service = createServer((_request, response) => response.end(GREETING));
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  const address = service.address();
  if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
  const relay = await startRelay({ host: sshd.host, port: sshd.port });
  const local = await freePort();
  say(
    `   bastion: a private sshd on 127.0.0.1:${sshd.port} with keys of its own, reached over a path on port ${relay.port}`,
  );
  say(`   service: HTTP on 127.0.0.1:${address.port}, as seen from the bastion`);
  const forward = `${local}:127.0.0.1:${address.port}`;
  const args = sshd.sshArgs.map((arg) => (arg === String(sshd.port) ? String(relay.port) : arg));
  const command = ['dist/autossh.cjs', '-N', ...args, '-o', `HostKeyAlias=[127.0.0.1]:${sshd.port}`];
  return { sshd, service, relay, local, command: [...command, '-L', forward, sshd.destination] };
};

const startAutossh = ({ command }: Stage): Autossh => {
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    stdio: ['ignore', 'inherit', 'pipe'],
    env: { ...process.env, AUTOSSH_POLL: String(POLL_SECONDS), AUTOSSH_DEBUG: '1', AUTOSSH_GATETIME: '0' },
  });
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => {
    lines.push(line);
    if (isTelling(line) && (hasTheStage || !line.includes('connection ok')))
      say(`   ${new Date().toISOString().slice(11, 23)} ${line}`);
  });
  child.stderr?.on('data', (chunk: Buffer) => splitter.push(chunk));
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, lines, exited };
};

/** Of the many lines of debugging those that tell the story. */
const isTelling = (line: string): boolean =>
  !/check on child|set alarm|clear alarm|grace period|execing|expired child|SIGALRM/.test(line);

const recover = async (
  fault: string,
  stage: Stage,
  autossh: Autossh,
  strike: (ssh: Process) => unknown,
): Promise<{ fault: string; ms: number }> => {
  title(`Fault: ${fault}`);
  const before = await until('ssh', () => sshOf(autossh));
  const struck = performance.now();
  strike(before);
  await until('another ssh', () => sshOf(autossh)?.pid !== before.pid && sshOf(autossh), { deadlineMs: 60_000 });
  await bytesGoThrough(stage.local, autossh);
  const ms = performance.now() - struck;
  say(`   -> bytes go through again after ${seconds(ms)}`);
  return { fault, ms };
};

const sshOf = ({ child }: Autossh): Process | undefined =>
  descendantsOf(child.pid ?? 0).find(
    ({ pid, name, parent }) => parent === child.pid && name === 'ssh' && processOf(pid),
  );

const bytesGoThrough = (port: number, { lines }: Autossh) =>
  until('bytes through the tunnel', () => fetchOnce(port).then((body) => body === GREETING), {
    everyMs: 20,
    deadlineMs: 60_000,
    state: () => lines.join('\n'),
  });

const fetchOnce = (port: number): Promise<string> =>
  new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, agent: false, timeout: 500 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('error', () => resolve(''));
      response.on('end', () => resolve(body));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(''));
  });

const end = async ({ sshd, relay, service }: Stage, { child, exited }: Autossh): Promise<void> => {
  title('The end: SIGTERM to autossh');
  const began = performance.now();
  const all = [processOf(child.pid ?? 0), ...descendantsOf(child.pid ?? 0)].filter((one) => one !== undefined);
  child.kill('SIGTERM');
  const code = await exited;
  say(`   exit status ${code} (what autossh gives for a signal) after ${seconds(performance.now() - began)}`);
  await until('its processes to be gone', () => all.every((one) => !isAlive(one)));
  say(`   of its ${all.length} processes (${[...new Set(all.map(({ name }) => name))].join(', ')}) none is left`);
  service.closeAllConnections();
  service.close();
  await relay.close();
  await sshd.stop();
};

main().catch((problem: unknown) => {
  console.error(problem);
  process.exitCode = 1;
});
