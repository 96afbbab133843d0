import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Document, parseAllDocuments } from 'yaml';
import { flows, type Service } from '../support/echo.ts';
import { serviceIn, sshdIn } from '../support/in-test.ts';
import { localRun } from '../support/local.ts';
import { freePort } from '../support/port.ts';
import type { Sshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

const SAMPLES = resolve(import.meta.dirname, '../../deploy/samples/local');

/**
 * Every local sample that is shipped, run by `autossh-operator run` against a real sshd. Only addresses are changed: hosts and users of
 * servers, and where forwards listen and lead to; in all-in-one.yaml also the key and host key, which no sample can have.
 */
describe('the samples for one machine', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sam-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  /** The sample with other values at these paths, which must be there already: nothing is added. */
  const sample = (name: string, changes: Record<string, unknown>, more: (documents: Document[]) => void = () => {}) => {
    const documents = parseAllDocuments(readFileSync(join(SAMPLES, name), 'utf8')) as Document[];
    for (const [path, value] of Object.entries(changes)) {
      const keys = path.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
      documents[0]?.setIn(keys, value);
    }
    more(documents);
    const file = join(dir, name);
    writeFileSync(file, documents.join(''));
    return file;
  };
  const server = ({ host, port, user }: Sshd) => ({
    'spec.ssh.host': host,
    'spec.ssh.port': port,
    'spec.ssh.user': user,
  });
  const logins = ({ userKey, knownHosts }: Sshd) => ['--identity', userKey, '--known-hosts', knownHosts];

  const target = ({ port }: Service) => ({
    'spec.forwards.0.local.target.host': '127.0.0.1',
    'spec.forwards.0.local.target.port': port,
  });

  it('local-forward.yaml', async (context) => {
    const [sshd, service] = [await sshdIn(context), await serviceIn(context)];
    const port = await freePort();
    const file = sample('local-forward.yaml', {
      ...server(sshd),
      'spec.forwards.0.local.listen.port': port,
      ...target(service),
    });
    const run = localRun(context, ['-f', file, ...logins(sshd)]);
    await flows({ host: '127.0.0.1', port }, run.text);
    run.child.kill('SIGINT');
    expect(await run.exited).toBe(0);
  });

  it('remote-forward.yaml', async (context) => {
    const [sshd, service] = [await sshdIn(context), await serviceIn(context)];
    const port = await freePort();
    const file = sample('remote-forward.yaml', {
      ...server(sshd),
      'spec.forwards.0.remote.listen.port': port,
      'spec.forwards.0.remote.target.port': service.port,
    });
    const run = localRun(context, ['-f', file, ...logins(sshd)]);
    await flows({ host: '127.0.0.1', port }, run.text);
  });

  it('socks-proxy.yaml', async (context) => {
    const [sshd, service] = [await sshdIn(context), await serviceIn(context)];
    const port = await freePort();
    const file = sample('socks-proxy.yaml', { ...server(sshd), 'spec.forwards.0.dynamic.listen.port': port });
    const run = localRun(context, ['-f', file, ...logins(sshd)]);
    await until('an echo through the proxy', () => echoBySocks(port, service.port), {
      deadlineMs: 90_000,
      everyMs: 100,
      state: run.text,
    });
  });

  it('unix-socket.yaml', async (context) => {
    const sshd = await sshdIn(context);
    const service = await serviceIn(context, { path: join(sshd.dir, 'service') });
    const path = join(dir, 'here');
    const file = sample('unix-socket.yaml', {
      ...server(sshd),
      'spec.forwards.0.local.listen.path': path,
      'spec.forwards.0.local.target.path': service.path,
    });
    const run = localRun(context, ['-f', file, ...logins(sshd)]);
    await flows({ path }, run.text);
  });

  it('jump-host.yaml', async (context) => {
    const [edge, sshd, service] = [await sshdIn(context), await sshdIn(context), await serviceIn(context)];
    const port = await freePort();
    const both = join(dir, 'known_hosts');
    writeFileSync(both, `${readFileSync(edge.knownHosts, 'utf8')}${readFileSync(sshd.knownHosts, 'utf8')}`);
    writeFileSync(edge.authorizedKeys, readFileSync(`${sshd.userKey}.pub`));
    const file = sample('jump-host.yaml', {
      ...server(sshd),
      'spec.ssh.jumpHosts.0.host': edge.host,
      'spec.ssh.jumpHosts.0.port': edge.port,
      'spec.ssh.jumpHosts.0.user': edge.user,
      'spec.forwards.0.local.listen.port': port,
      ...target(service),
    });
    const run = localRun(context, ['-f', file, '--identity', sshd.userKey, '--known-hosts', both]);
    await flows({ host: '127.0.0.1', port }, run.text);
    for (const server of [edge, sshd]) await server.logged(/Accepted publickey/);
  });

  it('all-in-one.yaml', async (context) => {
    const [sshd, service] = [await sshdIn(context), await serviceIn(context)];
    const port = await freePort();
    const changes = { ...server(sshd), 'spec.forwards.0.local.listen.port': port, ...target(service) };
    const file = sample('all-in-one.yaml', changes, ([, hosts, key]) => {
      hosts?.setIn(['data', 'known_hosts'], readFileSync(sshd.knownHosts, 'utf8'));
      key?.setIn(['stringData', 'ssh-privatekey'], readFileSync(sshd.userKey, 'utf8'));
    });
    const run = localRun(context, ['-f', file]);
    await flows({ host: '127.0.0.1', port }, run.text);
  });

  it('there is no sample that is not run here', () => {
    const tests = readFileSync(import.meta.filename, 'utf8');
    expect(readdirSync(SAMPLES)).toContain('local-forward.yaml');
    for (const name of readdirSync(SAMPLES)) expect(tests).toContain(`it('${basename(name)}'`);
  });
});

/** One connection through a SOCKS5 proxy to a port of its far end, there and back. */
const echoBySocks = (proxy: number, port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect(proxy, '127.0.0.1');
    let came = Buffer.alloc(0);
    const finish = (answer: boolean) => {
      socket.destroy();
      done(answer);
    };
    const steps = [
      { need: 2, send: () => Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]) },
      { need: 10, send: () => Buffer.from('hello') },
      { need: 5, send: () => null },
    ];
    socket.setTimeout(3_000, () => finish(false));
    socket.on('error', () => finish(false)).on('close', () => finish(false));
    socket.on('connect', () => socket.write(Buffer.from([5, 1, 0])));
    socket.on('data', (bytes) => {
      came = Buffer.concat([came, bytes]);
      const step = steps[0];
      if (step === undefined || came.length < step.need) return;
      const text = came.subarray(0, step.need).toString();
      came = came.subarray(step.need);
      steps.shift();
      const next = step.send();
      if (next === null) finish(text === 'hello');
      else socket.write(next);
    });
  });
