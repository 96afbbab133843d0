import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type RequestListener, type Server } from 'node:http';
import { join } from 'node:path';
import { LineSplitter } from '../../src/tunnel/lines.ts';
import { freePort } from '../support/port.ts';
import { descendantsOf, isAlive, signal } from '../support/processes.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/**
 * The second act of the local demo: the tunnel as a manifest, run without a cluster by `autossh-operator run -f`, and changed while it
 * is in use. Every claim is proven by bytes that went through the forwards.
 */
const say = (text = '') => console.log(text);
const title = (text: string) => say(`\n== ${text}`);
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;

/** Served slowly, and its last chunk only when it may end: a change of the tunnel falls into the middle of it, on any machine. */
const DOWNLOAD = { chunks: 60, chunkBytes: 64 * 1024, everyMs: 50, timeoutMs: 120_000 };
const GREETING = 'hello from the second service\n';

type Manifest = {
  readonly forwards: Readonly<Record<string, { listen: number; target: number }>>;
  readonly key: string;
};
type Run = { readonly child: ChildProcess; readonly lines: Line[]; readonly exited: Promise<number | null> };
type Line = Readonly<Record<string, unknown>>;

/** Plays the act; with `keep` it waits for Ctrl-C before it ends. */
export const playManifest = async ({ keep }: { keep: boolean }): Promise<void> => {
  title('The same as a manifest: autossh-operator run -f tunnel.yaml, with no cluster');
  const sshd = await startSshd();
  let mayEnd = false;
  const slow = await serve(sendSlowly(() => mayEnd));
  const quick = await serve((_request, response) => response.end(GREETING));
  const file = join(sshd.dir, 'tunnel.yaml');
  const [first, second] = [await freePort(), await freePort()];
  const files = { listen: first, target: portOf(slow) };
  let manifest: Manifest = { forwards: { files }, key: readFileSync(sshd.userKey, 'utf8') };
  const write = (next: Partial<Manifest>, knownHosts = readFileSync(sshd.knownHosts, 'utf8')) => {
    manifest = { ...manifest, ...next };
    writeFileSync(`${file}.new`, manifestText(sshd, manifest, knownHosts), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  write({});
  const run = startRun(file);
  try {
    const line = await said(run, 'the address of the page', ({ msg }) => msg === 'tunnel starts');
    await connected(run, String(line['status']));
    say(`   -> connected; for a person: ${line['page']}`);

    title('A forward added in the middle of a download');
    const download = fetchAll(first, DOWNLOAD.timeoutMs);
    await until('a third of the download', () => download.bytes() > (DOWNLOAD.chunks * DOWNLOAD.chunkBytes) / 3);
    const ssh = sshOf(run);
    const edited = performance.now();
    write({ forwards: { files, hello: { listen: second, target: portOf(quick) } } });
    await until('the new forward', async () => (await fetchAll(second).done).toString() === GREETING);
    say(`   -> the new forward answered ${seconds(performance.now() - edited)} after the file was saved`);
    expect('the download is not over yet', download.bytes() < DOWNLOAD.chunks * DOWNLOAD.chunkBytes);
    mayEnd = true;
    expect('the download is whole', digest(await download.done) === digest(PAYLOAD));
    expect('the same ssh still runs', sshOf(run) === ssh);
    say(`   -> the download ended whole (${PAYLOAD.length} bytes, SHA-256 compared), on the same connection`);

    title('A rotated key');
    const rotated = join(sshd.dir, 'rotated');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', rotated]);
    writeFileSync(sshd.authorizedKeys, readFileSync(`${rotated}.pub`));
    const told = run.lines.length;
    write({ key: readFileSync(rotated, 'utf8') });
    await said(run, 'the new key', ({ msg }) => String(msg).startsWith('keys or host keys changed'), told);
    expect('nobody was dropped', sshOf(run) === ssh);
    signal(descendantsOf(run.child.pid ?? 0).find(({ pid }) => pid === ssh) ?? never(), 'SIGKILL');
    await until('another ssh', () => sshOf(run) !== undefined && sshOf(run) !== ssh, { deadlineMs: 60_000 });
    await until('bytes with the new key', async () => (await fetchAll(second).done).toString() === GREETING, {
      deadlineMs: 60_000,
    });
    say('   -> the server takes only the new key now; the living connection stayed, and the next one used it');

    title('A bastion with another host key: perhaps a new machine, perhaps somebody in between');
    await sshd.restart({ newHostKey: true });
    // A restart wrote its own.
    writeFileSync(sshd.authorizedKeys, readFileSync(`${rotated}.pub`));
    const why = await said(run, 'the reason', ({ reason }) => reason === 'HostKeyChanged', told);
    say(`   -> not connected, and it says why: ${why['reason']}: ${why['detail']}`);
    const trusted = performance.now();
    write({}, knownHostsOf(sshd));
    await until('bytes again', async () => (await fetchAll(second).done).toString() === GREETING, {
      deadlineMs: 60_000,
    });
    say(`   -> known_hosts corrected in the file: bytes go through ${seconds(performance.now() - trusted)} later`);

    if (keep) {
      title('It stays. Try, in another terminal:');
      say(`   curl http://127.0.0.1:${second}/          # through the tunnel`);
      say(`   xdg-open ${line['page']}          # the page, or curl ${line['page']}status`);
      say(`   $EDITOR ${file}   # changes are applied when you save`);
      say('   Ctrl-C here ends all of it.');
      await new Promise<void>((resolve) => {
        process.once('SIGINT', resolve);
        process.once('SIGTERM', resolve);
        run.child.once('exit', () => resolve());
      });
    }
  } finally {
    await end(run, sshd, [slow, quick]);
  }
};

const manifestText = (sshd: Sshd, { forwards, key }: Manifest, knownHosts: string): string => {
  const indented = (text: string) => text.trimEnd().replace(/^/gm, '    ');
  const list = Object.entries(forwards).map(
    ([name, { listen, target }]) =>
      `  - {name: ${name}, local: {listen: {port: ${listen}}, target: {host: 127.0.0.1, port: ${target}}}}\n`,
  );
  return `apiVersion: autossh.dev/v1alpha1
kind: SshTunnel
metadata: {name: demo}
spec:
  ssh:
    host: ${sshd.host}
    port: ${sshd.port}
    user: ${sshd.user}
    identity: {secretRef: {name: demo-key}}
    knownHosts: {configMapRef: {name: demo-hosts}}
  forwards:
${list.join('')}---
apiVersion: v1
kind: ConfigMap
metadata: {name: demo-hosts}
data:
  known_hosts: |
${indented(knownHosts)}
---
apiVersion: v1
kind: Secret
metadata: {name: demo-key}
type: kubernetes.io/ssh-auth
stringData:
  ssh-privatekey: |
${indented(key)}
`;
};

/** What a person would have from `autossh-operator known-hosts`, once the fingerprint has been compared. */
const knownHostsOf = (sshd: Sshd): string => {
  const [type, key] = readFileSync(`${sshd.hostKey}.pub`, 'utf8').split(' ');
  return `[${sshd.host}]:${sshd.port} ${type} ${key}\n`;
};

const startRun = (file: string): Run => {
  say('   $ autossh-operator run -f tunnel.yaml');
  const child = spawn('dist/autossh-operator.cjs', ['run', '-f', file, '--log-format', 'json'], {
    stdio: ['ignore', 'inherit', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const lines: Line[] = [];
  const splitter = new LineSplitter((text) => {
    const line: Line = text.startsWith('{') ? JSON.parse(text) : { msg: text };
    lines.push(line);
    const { time, level, program, tunnel, msg, ...fields } = line;
    const rest = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
    say(`   ${String(time).slice(11, 23)} ${level} ${msg} ${rest.join(' ')}`.slice(0, 200));
  });
  child.stderr?.on('data', (chunk: Buffer) => splitter.push(chunk));
  return { child, lines, exited: new Promise((resolve) => child.once('exit', resolve)) };
};

const said = (run: Run, what: string, is: (line: Line) => boolean, from = 0): Promise<Line> =>
  until(what, () => run.lines.slice(from).find(is), { deadlineMs: 60_000, state: () => JSON.stringify(run.lines) });

const connected = (run: Run, status: string) =>
  until(
    'the connection',
    async () => {
      const answer = await fetch(new URL('/status', status)).catch(() => undefined);
      return answer !== undefined && ((await answer.json()) as { connected: boolean }).connected;
    },
    { deadlineMs: 60_000, state: () => JSON.stringify(run.lines) },
  );

/** The tunnel's own ssh: clients of its control socket are called ssh too. */
const sshOf = ({ child }: Run): number | undefined =>
  descendantsOf(child.pid ?? 0).find(({ pid, name }) => {
    if (name !== 'ssh') return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes('-N');
    } catch {
      return false;
    }
  })?.pid;

const PAYLOAD = Buffer.alloc(DOWNLOAD.chunks * DOWNLOAD.chunkBytes, 'the same bytes on both sides of the tunnel. ');
const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

const sendSlowly =
  (mayEnd: () => boolean): RequestListener =>
  (_request, response) => {
    let sent = 0;
    const timer = setInterval(() => {
      if (sent + DOWNLOAD.chunkBytes >= PAYLOAD.length && !mayEnd()) return;
      response.write(PAYLOAD.subarray(sent, sent + DOWNLOAD.chunkBytes));
      sent += DOWNLOAD.chunkBytes;
      if (sent < PAYLOAD.length) return;
      clearInterval(timer);
      response.end();
    }, DOWNLOAD.everyMs);
    response.on('close', () => clearInterval(timer));
  };

const serve = async (answer: RequestListener): Promise<Server> => {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
};
const portOf = (server: Server): number => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
  return address.port;
};

/** A GET through a forward; empty where nothing answers. */
const fetchAll = (port: number, timeout = 5_000): { bytes: () => number; done: Promise<Buffer> } => {
  const chunks: Buffer[] = [];
  const done = new Promise<Buffer>((resolve) => {
    const request = get({ host: '127.0.0.1', port, agent: false, timeout }, (response) => {
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => resolve(Buffer.of()));
      response.on('end', () => resolve(Buffer.concat(chunks)));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(Buffer.of()));
  });
  return { bytes: () => chunks.reduce((sum, { length }) => sum + length, 0), done };
};

const expect = (what: string, holds: boolean): void => {
  if (!holds) throw new Error(`expected: ${what}`);
};
const never = (): never => {
  throw new Error('expected an ssh');
};

const end = async (run: Run, sshd: Sshd, services: readonly Server[]): Promise<void> => {
  title('The end: SIGTERM to autossh-operator run');
  const all = descendantsOf(run.child.pid ?? 0);
  run.child.kill('SIGTERM');
  say(`   exit status ${await run.exited}`);
  await until('its processes to be gone', () => all.every((one) => !isAlive(one)));
  say(`   of its ${all.length} further processes none is left`);
  for (const service of services) {
    service.closeAllConnections();
    service.close();
  }
  rmSync(join(sshd.dir, 'tunnel.yaml'), { force: true });
  await sshd.stop();
};
