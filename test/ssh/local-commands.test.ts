import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { flows, startService } from '../support/echo.ts';
import { serviceIn, sshdIn } from '../support/in-test.ts';
import { localRun, operator } from '../support/local.ts';
import { freePort } from '../support/port.ts';
import { descendantsOf, signal } from '../support/processes.ts';
import type { Sshd } from '../support/sshd.ts';

const tunnel = (sshd: Sshd, port: number, target: number, ssh: object = {}) => ({
  apiVersion: 'autossh.dev/v1alpha1',
  kind: 'SshTunnel',
  metadata: { name: 'one' },
  spec: {
    ssh: {
      ...{ host: sshd.host, port: sshd.port, user: sshd.user },
      identity: { secretRef: { name: 'key' } },
      knownHosts: { configMapRef: { name: 'known-hosts' } },
      ...ssh,
    },
    forwards: [{ name: 'echo', local: { listen: { port }, target: { host: '127.0.0.1', port: target } } }],
  },
});

describe('autossh-operator known-hosts', () => {
  it('makes a ConfigMap that a run trusts, with the fingerprints that ssh-keygen shows at the server', async (context) => {
    const [sshd, service] = [await sshdIn(context), await serviceIn(context)];
    const { code, out, err } = await operator([
      'known-hosts',
      `127.0.0.1:${sshd.port}`,
      '-n',
      'shop',
      '--timeout',
      '60',
    ]);
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(parse(out)).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'known-hosts', namespace: 'shop' },
      data: { known_hosts: `${readFileSync(sshd.knownHosts, 'utf8').split(' ').slice(0, 3).join(' ').trim()}\n` },
    });
    const [, fingerprint = 'none'] = execFileSync('ssh-keygen', ['-lf', `${sshd.hostKey}.pub`], {
      encoding: 'utf8',
    }).split(' ');
    expect(fingerprint).toMatch(/^SHA256:/);
    for (const text of [out, err]) expect(text).toContain(`ED25519 ${fingerprint}`);
    expect(err).toContain('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');

    const port = await freePort();
    const files = [join(sshd.dir, 'tunnel.yaml'), join(sshd.dir, 'hosts.yaml')] as const;
    writeFileSync(files[0], stringify(tunnel(sshd, port, service.port)));
    writeFileSync(files[1], out);
    const run = localRun(context, ['-f', files[0], '-f', files[1], '--identity', sshd.userKey]);
    await flows({ host: '127.0.0.1', port }, run.text);
  });

  it('says why there is none: no server, no such name, nobody who speaks SSH', async (context) => {
    const silent = await startService({ host: '127.0.0.1', port: 0 }, () => {});
    context.onTestFinished(() => silent.stop());
    const port = await freePort();
    const closed = await operator(['known-hosts', `127.0.0.1:${port}`]);
    expect(closed).toMatchObject({ code: 1, out: '' });
    expect(closed.err).toMatch(/^\[127\.0\.0\.1\]:\d+: expected an SSH server .* is the port right/);
    const mute = await operator(['known-hosts', `127.0.0.1:${silent.port}`, '--timeout', '1']);
    expect(mute).toMatchObject({ code: 1, out: '' });
    // Where the machine's resolver is silent, too, in time.
    const nameless = await operator(['known-hosts', 'nowhere.invalid'], '', { RES_OPTIONS: 'timeout:1 attempts:1' });
    expect(nameless).toMatchObject({ code: 1, out: '' });
    expect(nameless.err).toContain('nowhere.invalid: expected a name that resolves');
  });

  it.each(['-oProxyCommand=x', 'user@host', 'a b', 'host:0', 'host:65536', '$(id)', '[::1', '127.1', ''])(
    'takes no %j for a host',
    async (text) => {
      const { code, out, err } = await operator(['known-hosts', '--', text]);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toContain(`${JSON.stringify(text)}: expected HOST, HOST:PORT or [IPv6]:PORT`);
    },
  );
});

describe('autossh-operator explain', () => {
  it('gives a text that a shell can run: jump hosts, their configuration and all', async (context) => {
    const [edge, sshd, service] = [await sshdIn(context), await sshdIn(context), await serviceIn(context)];
    writeFileSync(edge.authorizedKeys, readFileSync(`${sshd.userKey}.pub`));
    const port = await freePort();
    const both = `${readFileSync(edge.knownHosts, 'utf8')}${readFileSync(sshd.knownHosts, 'utf8')}`;
    const file = join(sshd.dir, 'tunnel.yaml');
    const ssh = { knownHosts: { inline: both }, jumpHosts: [{ host: edge.host, port: edge.port, user: edge.user }] };
    writeFileSync(file, stringify(tunnel(sshd, port, service.port, ssh)));
    const home = join(sshd.dir, 'home');
    mkdirSync(home);
    const { code, out, err } = await operator(['explain', '-f', file, '--identity', sshd.userKey], '', { HOME: home });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(`# server: ${sshd.user}@127.0.0.1:${sshd.port}, over ${edge.user}@127.0.0.1:${edge.port}`);
    expect(out).toMatch(/# heartbeat: Auto .* every 5 s, 3 s to answer; 2 failed in a row/);
    const shell = spawn('sh', ['-c', out], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, HOME: home },
    });
    let said = '';
    shell.stderr.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
    const ended = new Promise((done) => shell.once('close', done));
    context.onTestFinished(async () => {
      for (const one of descendantsOf(shell.pid ?? 0)) signal(one, 'SIGTERM');
      shell.kill();
      await ended;
    });
    await flows({ host: '127.0.0.1', port }, () => said);
  });
});
