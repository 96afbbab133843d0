import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import { flows } from '../support/echo.ts';
import { serviceIn, sshdIn } from '../support/in-test.ts';
import {
  holdsConnection,
  isAlive,
  type LocalRun,
  localRun,
  OPERATOR,
  privateDirectories,
  readProc,
} from '../support/local.ts';
import { canBind, freePort } from '../support/port.ts';
import { descendantsOf, processOf, signal } from '../support/processes.ts';
import { makeKey, type Sshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

type Wanted = { readonly name: string; readonly port: number; readonly target: number; readonly more?: string };

const manifest = ({ host, port, user }: Sshd, wanted: readonly Wanted[]): string =>
  wanted
    .map(
      ({ name, port: listen, target, more = '' }) => `apiVersion: autossh.dev/v1alpha1
kind: SshTunnel
metadata: {name: ${name}}
spec:
  ssh:
    host: ${host}
    port: ${port}
    user: ${user}
    identity: {secretRef: {name: key}}
    knownHosts: {configMapRef: {name: hosts}}
  forwards:
    - name: echo
      local: {listen: {port: ${listen}}, target: {host: 127.0.0.1, port: ${target}}}
  heartbeat: {periodSeconds: 1}
${more}`,
    )
    .join('---\n');

/** `autossh-operator run` on a real sshd. What every test proves at its end: no process and no directory of the run is left. */
describe('autossh-operator run', () => {
  const world = async (context: TestContext, ...names: string[]) => {
    const [sshd, service] = [await sshdIn(context), await serviceIn(context)];
    const wanted: Wanted[] = [];
    for (const name of names) wanted.push({ name, port: await freePort(), target: service.port });
    const file = join(sshd.dir, 'tunnels.yaml');
    const write = (those: readonly Wanted[]) => writeFileSync(file, manifest(sshd, those));
    write(wanted);
    const logins = ['--identity', sshd.userKey, '--known-hosts', sshd.knownHosts];
    const [first] = wanted;
    if (first === undefined) throw new Error('expected the name of a tunnel');
    return { sshd, service, wanted, first, file, write, logins };
  };
  const there = (port: number) => ({ host: '127.0.0.1', port });
  const supervisors = (run: LocalRun) => run.processes().filter(({ parent }) => parent === run.child.pid);

  it('makes its files anew where a logout or a cleaner has taken them away, and connects again', async (context) => {
    const { first, file, logins } = await world(context, 'one');
    const run = localRun(context, ['-f', file, ...logins]);
    await flows(there(first.port), run.text);
    await run.connected('one');
    const { sshStarts } = await run.status('one');
    for (const path of privateDirectories().filter((one) => one.includes(`-${run.child.pid}-`)))
      rmSync(path, { recursive: true, maxRetries: 10 });
    await run.says('that they are made anew', ({ msg }) => msg === 'its files were taken away: they are made anew');
    for (const ssh of run.connections()) signal(ssh, 'SIGKILL');
    await until(
      'another ssh to be connected',
      async () => {
        const status = await run.status('one');
        return status['connected'] === true && Number(status['sshStarts']) > Number(sshStarts);
      },
      { deadlineMs: 90_000, everyMs: 50, state: run.text },
    );
    await flows(there(first.port), run.text);
  });

  it('ends, and ends its tunnels, where somebody else puts something in the place of its files', async (context) => {
    const { first, file, logins } = await world(context, 'one');
    const run = localRun(context, ['-f', file, ...logins]);
    await flows(there(first.port), run.text);
    const elsewhere = mkdtempSync(join(tmpdir(), 'elsewhere-'));
    context.onTestFinished(() => rmSync(elsewhere, { recursive: true, force: true }));
    const [path = ''] = privateDirectories().filter((one) => one.includes(`-${run.child.pid}-`));
    cpSync(path, elsewhere, { recursive: true, filter: (one) => !statSync(one).isSocket() });
    context.onTestFinished(() => {
      for (const one of [path, `${path}-away`]) rmSync(one, { recursive: true, force: true });
    });
    renameSync(path, `${path}-away`);
    symlinkSync(elsewhere, path);
    expect(await run.exited).toBe(1);
    expect(run.text()).toContain('to be a directory of this user alone');
    expect(await canBind('127.0.0.1', first.port)).toBe(true);
  });

  it('runs several tunnels, each with a status of its own, and ends clean and with 0 on SIGINT', async (context) => {
    const { wanted, file, logins } = await world(context, 'one', 'two');
    const run = localRun(context, ['-f', file, ...logins]);
    for (const { name, port } of wanted) {
      await flows(there(port), run.text);
      await run.connected(name);
    }
    const addresses = run.log().flatMap(({ status }) => (status === undefined ? [] : [status]));
    expect(new Set(addresses).size).toBe(2);
    expect(run.connections()).toHaveLength(2);
    for (const { name } of wanted)
      await run.says(`a line of ${name}`, ({ program, tunnel }) => program === 'autossh' && tunnel === name);
    run.child.kill('SIGINT');
    expect(await run.exited).toBe(0);
    for (const { port } of wanted) expect(await canBind('127.0.0.1', port)).toBe(true);
  });

  it('keeps keys in its private directory alone, and no part of one in arguments, environments or the log', async (context) => {
    const { sshd, file, logins } = await world(context, 'one');
    const run = localRun(context, ['-f', file, ...logins]);
    await run.connected('one');
    const secret = readFileSync(sshd.userKey, 'utf8').split('\n')[2] ?? '';
    expect(secret.length).toBeGreaterThan(40);
    const processes = run.processes();
    for (const part of ['cmdline', 'environ'] as const) {
      const texts = processes.map((one) => readProc(one, part)).filter(Boolean);
      // The supervisor and its ssh.
      expect(texts.length).toBeGreaterThanOrEqual(2);
      for (const text of texts) expect(text).not.toContain(secret);
    }
    expect(run.text()).not.toContain(secret);
    const [mine] = privateDirectories().filter((path) => path.includes(`-${run.child.pid}-`));
    expect(mine).toMatch(/^\/dev\/shm\//);
    const ssh = run.connections();
    expect(ssh).toHaveLength(1);
    for (const one of ssh) expect(readProc(one, 'cmdline')).toContain(mine);
  });

  it('applies an edit, refuses a bad one and says where, starts what is added and ends what is gone', async (context) => {
    const { service, first, file, write, logins } = await world(context, 'one');
    const run = localRun(context, ['-f', file, ...logins]);
    await run.connected('one');
    const [ssh] = run.connections();
    const moved = { ...first, port: await freePort() };
    write([moved]);
    await flows(there(moved.port), run.text);
    await until('the former port to be free', () => canBind('127.0.0.1', first.port));

    write([{ ...moved, more: '  nonsense: true\n' }]);
    const refusal = await run.says(
      'the refusal',
      ({ msg, problem }) => String(msg).startsWith('the edit is refused') && String(problem).includes('nonsense'),
    );
    expect(refusal['problem']).toContain(`${file}:15:3: SshTunnel/one: spec.nonsense: expected one of the fields `);
    await flows(there(moved.port), run.text);
    expect(run.connections().map(({ pid }) => pid)).toEqual([ssh?.pid]);

    const second = { name: 'two', port: await freePort(), target: service.port };
    write([moved, second]);
    await flows(there(second.port), run.text);
    write([second]);
    await until('the port of the first to be free', () => canBind('127.0.0.1', moved.port), { state: run.text });
    await flows(there(second.port), run.text);
  });

  it('takes a replaced key for the next connection', async (context) => {
    const { sshd, first, file } = await world(context, 'one');
    const key = join(sshd.dir, 'mine');
    writeFileSync(key, readFileSync(sshd.userKey), { mode: 0o600 });
    const run = localRun(context, ['-f', file, '--identity', key, '--known-hosts', sshd.knownHosts]);
    await flows(there(first.port), run.text);
    const next = join(sshd.dir, 'next');
    makeKey(next);
    writeFileSync(sshd.authorizedKeys, readFileSync(`${next}.pub`));
    writeFileSync(key, readFileSync(next));
    await run.says('the new key', ({ msg }) => String(msg).includes('keys or host keys changed'));
    await sshd.kill('sessions');
    await flows(there(first.port), run.text);
  });

  it('killed by SIGKILL, it leaves no ssh, no process and no key', async (context) => {
    const { wanted, file, logins } = await world(context, 'one', 'two');
    const run = localRun(context, ['-f', file, ...logins]);
    for (const { name } of wanted) await run.connected(name);
    const all = run.processes();
    expect(run.connections()).toHaveLength(2);
    run.child.kill('SIGKILL');
    await until('everything to end', () => !all.some(isAlive), { state: run.text });
    await until('its directory to go', () => !privateDirectories().some((path) => path.includes(`-${run.child.pid}-`)));
  });

  it('killed by SIGKILL with all its supervisors, no ssh is left, and the next run clears up', async (context) => {
    const { first, file, logins } = await world(context, 'one');
    const run = localRun(context, ['-f', file, ...logins]);
    await run.connected('one');
    const all = run.processes();
    const lost = supervisors(run);
    expect(lost).toHaveLength(1);
    run.child.kill('SIGSTOP');
    for (const one of lost) signal(one, 'SIGKILL');
    run.child.kill('SIGKILL');
    await until('everything to end', () => !all.some(isAlive), { state: run.text });
    const left = privateDirectories().filter((path) => path.includes(`-${run.child.pid}-`));
    expect(left).toHaveLength(1);
    const again = localRun(context, ['-f', file, ...logins]);
    await flows(there(first.port), again.text);
    expect(privateDirectories()).not.toContain(left[0]);
  });

  for (const name of ['SIGKILL', 'SIGTERM'] as const)
    it(`starts a supervisor again that ${name} ended`, async (context) => {
      const { first, file, logins } = await world(context, 'one');
      const run = localRun(context, ['-f', file, ...logins]);
      await run.connected('one');
      const [before] = supervisors(run);
      if (before === undefined) throw new Error('expected a supervisor');
      signal(before, name);
      await run.says('the loss', ({ msg }) => String(msg).startsWith('its supervisor ended'));
      await until('another supervisor', () => supervisors(run).some(({ pid }) => pid !== before.pid));
      await flows(there(first.port), run.text);
    });

  it('leaves to a forward the port that the status would have taken', async (context) => {
    const { service, first, write, file, logins } = await world(context, 'one');
    write([first, { name: 'two', port: await freePort(), target: service.port }]);
    const run = localRun(context, ['-f', file, ...logins, '--http-port', String(first.port)]);
    await flows(there(first.port), run.text);
    for (const name of ['one', 'two']) await run.connected(name);
    expect(run.log().filter(({ msg }) => msg === 'tunnel starts')).toHaveLength(2);
  });

  it('finds another port for the status where the first is taken', async (context) => {
    const { file, logins } = await world(context, 'one');
    const port = await freePort();
    const other = createServer();
    await new Promise<void>((done) => other.listen(port, '127.0.0.1', done));
    context.onTestFinished(() => void other.close());
    const run = localRun(context, ['-f', file, ...logins, '--http-port', String(port)]);
    await run.connected('one');
    const [started] = run.log().filter(({ msg }) => msg === 'tunnel starts');
    expect(Number(new URL(String(started?.['status'])).port)).toBeGreaterThan(port);
  });

  it('takes tunnel, key and host key from standard input', async (context) => {
    const { sshd, first, wanted } = await world(context, 'one');
    const indented = (path: string) => readFileSync(path, 'utf8').trimEnd().replaceAll('\n', '\n    ');
    const text = `${manifest(sshd, wanted)}---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata: {name: key}
  data: {ssh-privatekey: ${readFileSync(sshd.userKey).toString('base64')}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: hosts}
  data: {known_hosts: "${indented(sshd.knownHosts)}"}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: app}
`;
    const run = localRun(context, ['-f', '-'], text);
    await flows(there(first.port), run.text);
    expect(run.log().some(({ objects }) => objects === 'Deployment/app')).toBe(true);
  });

  it('takes tunnel and key from pipes, as <(command) of a shell, and does not look there again', async (context) => {
    const { sshd, service, first, file } = await world(context, 'one');
    const [tunnel, key] = [join(sshd.dir, 'tunnel.pipe'), join(sshd.dir, 'key.pipe')];
    execFileSync('mkfifo', [tunnel, key]);
    const beside = join(sshd.dir, 'more.yaml');
    writeFileSync(beside, '');
    const run = localRun(context, ['-f', tunnel, '-f', beside, '-i', key, '--known-hosts', sshd.knownHosts]);
    await Promise.all([writeFile(tunnel, readFileSync(file)), writeFile(key, readFileSync(sshd.userKey))]);
    await run.connected('one');
    const more = { name: 'two', port: await freePort(), target: service.port };
    writeFileSync(beside, manifest(sshd, [more]));
    await flows(there(more.port), run.text);
    await flows(there(first.port), run.text);
    expect(run.log().filter(({ msg }) => String(msg).startsWith('the edit is refused'))).toEqual([]);
  });

  it('does not wait for a supervisor that stands still when it is told a second time', async (context) => {
    const { file, logins } = await world(context, 'one');
    const run = localRun(context, ['-f', file, ...logins]);
    await run.connected('one');
    for (const one of supervisors(run)) signal(one, 'SIGSTOP');
    run.child.kill('SIGINT');
    await run.says('its end', ({ msg }) => msg === 'told to end');
    run.child.kill('SIGINT');
    expect(await run.exited).toBe(130);
    // It had not come to the end of its patience.
    expect(run.text()).not.toContain('does not end');
  });

  it('kills a supervisor that stands still when its patience is over, and says so', async (context) => {
    const { file, logins } = await world(context, 'one');
    const run = localRun(context, ['-f', file, ...logins]);
    await run.connected('one');
    for (const one of supervisors(run)) signal(one, 'SIGSTOP');
    run.child.kill('SIGINT');
    expect(await run.exited).toBe(0);
    expect(await run.says('why', ({ msg }) => String(msg).includes('does not end'))).toMatchObject({ tunnel: 'one' });
  });

  it('ends clean on Ctrl-C at a terminal, where every process of the group would get it', async (context) => {
    const { sshd, first, file, logins } = await world(context, 'one');
    const before = privateDirectories();
    // A shell in between would tell its own end by SIGINT.
    const command = ['exec', OPERATOR, 'run', '-f', file, ...logins].join(' ');
    const terminal = spawn('script', ['-qec', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'], TMPDIR: sshd.dir, NODE_OPTIONS: '', SHELL: '/bin/sh', TERM: 'dumb' },
    });
    context.onTestFinished(() => void terminal.kill('SIGKILL'));
    let screen = '';
    terminal.stdout.on('data', (bytes: Buffer) => {
      screen += bytes.toString();
    });
    await flows(there(first.port), () => screen);
    const all = descendantsOf(terminal.pid ?? 0);
    expect(all.filter(holdsConnection)).toHaveLength(1);
    const code = new Promise((done) => terminal.once('exit', done));
    terminal.stdin.write('\x03');
    expect(await code).toBe(0);
    await until('everything to end', () => !all.some(isAlive), { state: () => screen });
    expect(privateDirectories().filter((path) => !before.includes(path))).toEqual([]);
  });

  it('refuses what it cannot run before any ssh is started, with 1', async (context) => {
    const { sshd, file } = await world(context, 'one');
    const run = localRun(context, ['-f', file, '--known-hosts', sshd.knownHosts]);
    expect(await run.exited).toBe(1);
    await until('its words', () => run.text().includes('--identity PATH in its place; got nothing\n'));
    expect(run.text()).toContain(
      `${file}:9:28: SshTunnel/one: spec.ssh.identity.secretRef.name: expected Secret "key"`,
    );
    expect(sshd.log()).not.toContain('Connection from');
    expect(processOf(run.child.pid ?? 0)?.state ?? 'Z').toBe('Z');
  });
});
