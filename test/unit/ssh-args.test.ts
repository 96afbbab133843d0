import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDocument, type TunnelDocument } from '../../src/api/document.ts';
import { errorText } from '../../src/api/parse.ts';
import { CannotCompile, forwardArgs, sshCommand } from '../../src/tunnel/ssh-args.ts';
import { configText } from '../../src/tunnel/ssh-config.ts';
import { documentWith, placesIn, tunnelOf } from '../support/tunnels.ts';

const places = placesIn('/run/autossh');
const withHops = () =>
  documentWith({
    ssh: {
      jumpHosts: [
        { host: 'edge.example.com', user: 'hop' },
        { host: '10.0.0.2', port: 2200 },
      ],
    },
  });

describe('spec to ssh', () => {
  it('is one command line without a hop, and reads no configuration', () => {
    const { argv, files, env } = sshCommand(documentWith(), places);
    expect(argv.slice(0, 2)).toEqual(['-F', 'none']);
    expect(argv.slice(-7)).toEqual([
      '-N',
      '-T',
      '-n',
      '-L',
      '127.0.0.1:5432:db.internal:5432',
      '--',
      'bastion.example.com',
    ]);
    expect(files).toEqual([]);
    expect(env).toEqual({ SHELL: '/bin/sh' });
  });

  it('has the enforced options before everything that a specification says', () => {
    const { argv } = sshCommand(documentWith({ ssh: { options: { compression: true, ciphers: '-*cbc' } } }), places);
    const options = argv.flatMap((arg, index) => (argv[index - 1] === '-o' ? [arg] : []));
    expect(options.slice(0, 8)).toEqual([
      'BatchMode=yes',
      'ExitOnForwardFailure=yes',
      'IdentitiesOnly=yes',
      'StrictHostKeyChecking=yes',
      'UserKnownHostsFile=/run/autossh/target.known_hosts',
      'GlobalKnownHostsFile=/dev/null',
      'KnownHostsCommand=none',
      'UpdateHostKeys=no',
    ]);
    const keywords = options.map((option) => option.split('=')[0]?.toLowerCase());
    expect(new Set(keywords).size).toBe(keywords.length);
    expect(options).toContain('Ciphers=-*cbc');
    expect(options).toContain('ProxyCommand=none');
  });

  it('gives every hop a block with strict host keys, its key and its timeout', () => {
    const { argv, files } = sshCommand(withHops(), places);
    expect(argv.slice(0, 2)).toEqual(['-F', '/run/autossh/ssh_config']);
    expect(argv).toContain('ProxyJump=autossh_hop_1,autossh_hop_2');
    const [file] = files;
    const blocks = file?.content.split(/^Host /m).slice(1) ?? [];
    expect(blocks.length).toBe(2);
    for (const block of blocks)
      for (const line of [
        'StrictHostKeyChecking yes',
        'BatchMode yes',
        'PermitLocalCommand no',
        'ConnectTimeout 10',
        'ControlPath none',
        'UserKnownHostsFile /run/autossh/target.known_hosts',
      ])
        expect(block).toContain(`\n  ${line}\n`);
    expect(blocks[0]).toContain('\n  User hop\n');
    expect(blocks[1]).toContain('\n  User tunnel\n');
  });

  it('says how a forward is written, for ssh and for its control socket', () => {
    const forwards = documentWith({
      forwards: [
        { name: 'six', local: { listen: { host: '::1', port: 1 }, target: { host: '2001:db8::1', port: 2 } } },
        { name: 'sock', local: { listen: { path: '/tmp/a' }, target: { path: '/tmp/b' } } },
        { name: 'back', remote: { listen: { port: 8080 }, target: { port: 80 } } },
        { name: 'socks', dynamic: { listen: { host: '*', port: 1080 } } },
      ],
    }).forwards;
    expect(forwards.map(forwardArgs)).toEqual([
      ['-L', '[::1]:1:[2001:db8::1]:2'],
      ['-L', '/tmp/a:/tmp/b'],
      ['-R', 'localhost:8080:localhost:80'],
      ['-D', '*:1080'],
    ]);
  });

  it('listens on all addresses in a gateway, where nothing else is said', () => {
    const gateway = { allowFrom: [{ namespaceSelector: {} }] };
    expect(documentWith({ mode: 'Gateway', gateway }).forwards.map(forwardArgs)).toEqual([
      ['-L', '*:5432:db.internal:5432'],
    ]);
  });

  it('refuses a login without files, and never runs without known_hosts', () => {
    expect(() => sshCommand(documentWith(), { ...places, logins: {} })).toThrow(CannotCompile);
    expect(() => sshCommand(documentWith(), { ...places, knownHosts: {} })).toThrow(CannotCompile);
  });

  it('checks no host keys only where that was said', () => {
    const { argv } = sshCommand(documentWith({ ssh: { knownHosts: { insecureSkipVerify: true } } }), places);
    expect(argv).toContain('StrictHostKeyChecking=no');
    expect(argv).toContain('UserKnownHostsFile=/dev/null');
  });

  it.each([
    '/run/a b/x',
    '/run/"x"',
    "/run/'x'",
    '/run/a\nProxyCommand id',
    '~/x',
    'x',
    '/run/${HOME}',
    '/run/$(id)',
    '/run/a\\b',
  ])('refuses the path %j, which ssh or its shell would read otherwise', (path) => {
    const login = { ...places, logins: { target: { identityFile: path } } };
    expect(() => sshCommand(documentWith(), login)).toThrow(CannotCompile);
    expect(() => sshCommand(withHops(), { ...places, configFile: path })).toThrow(CannotCompile);
  });

  it('doubles a percent sign of a path, which would be a token', () => {
    const login = { ...places, logins: { target: { identityFile: '/run/50%/key' } } };
    expect(sshCommand(documentWith(), login).argv).toContain('IdentityFile=/run/50%%/key');
  });

  it.each(['a b', 'a\nProxyCommand id', '"a"', '#a', '', '-oProxyCommand=id', '$HOME', '`id`', 'a\\', 'a\u0000'])(
    'writes no %j into a configuration',
    (value) => {
      expect(() => configText([{ host: 'h', options: [['HostName', value]] }])).toThrow(RangeError);
      expect(() => configText([{ host: value, options: [] }])).toThrow(RangeError);
    },
  );
});

/** Every string of the document, as a place to put something hostile into. */
const stringsOf = (value: unknown, path: (string | number)[] = []): (string | number)[][] =>
  typeof value === 'string'
    ? [path]
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, member]) => stringsOf(member, [...path, key]))
      : [];

const withValue = (document: TunnelDocument, path: readonly (string | number)[], value: string): unknown => {
  const copy = structuredClone(document);
  let at = copy as unknown as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>;
  at[path.at(-1) ?? ''] = value;
  return copy;
};

describe('a document that somebody else wrote', () => {
  const document = documentWith({
    ssh: {
      hostKeyAlias: 'bastion',
      jumpHosts: [
        { host: 'edge', user: 'hop', identity: { secretRef: { name: 'k' } }, options: { macs: 'hmac-sha2-256' } },
      ],
      options: { ciphers: 'aes256-ctr', hostKeyAlgorithms: '+ssh-rsa' },
    },
    forwards: [
      {
        name: 'pg',
        local: { listen: { host: '127.0.0.1', port: 1 }, target: { host: 'db', port: 2 } },
        probe: { http: { host: 'db' } },
      },
      { name: 'sock', local: { listen: { path: '/tmp/a' }, target: { path: '/tmp/b' } } },
      { name: 'back', remote: { listen: { host: 'localhost', port: 3 }, target: { host: 'web', port: 4 } } },
    ],
  });
  // The reserved texts of a document never reach ssh: they may hold anything short.
  const free = (path: readonly (string | number)[]) => ['name', 'namespace'].includes(String(path[0]));
  const strings = stringsOf(document).filter((path) => !free(path));
  const hostile = fc.oneof(
    fc.constantFrom(
      '-oProxyCommand=id',
      '-F/tmp/x',
      'a\nProxyCommand id',
      'a\r\nLocalCommand id',
      'a b',
      '"a"',
      "a'b",
      '%h',
      '%d/x',
      '$(id)',
      '`id`',
      '${HOME}',
      'a;id',
      'a|id',
      'a&id',
      'PROXYCOMMAND=id',
      'a\u0000b',
      '~/.ssh/x',
      'a\u2028b',
      'a#b',
      'a\\b',
      '',
    ),
    fc.string({ unit: 'binary' }).map((text) => `${text}\n`),
    fc.string().map((text) => `-${text} `),
    fc.string().map((text) => `${text}%`),
  );

  it('is what the test thinks: it passes as it is, and has many doors', () => {
    expect(parseDocument(JSON.stringify(document)).ok).toBe(true);
    expect(strings.length).toBeGreaterThan(25);
  });

  it('lets nothing hostile in by any of its texts', () => {
    fc.assert(
      fc.property(fc.constantFrom(...strings), hostile, (path, value) => {
        // The path of an HTTP probe is no business of ssh: it takes all visible characters.
        fc.pre(path.at(-1) !== 'path' || !/^\/[!-~]*$/.test(value));
        return !parseDocument(JSON.stringify(withValue(document, path, value))).ok;
      }),
      { numRuns: 5_000 },
    );
  });

  it.each([
    'proxyCommand',
    'ProxyCommand',
    'PROXYCOMMAND',
    'proxyJump',
    'proxyUseFdpass',
    'localCommand',
    'permitLocalCommand',
    'remoteCommand',
    'knownHostsCommand',
    'KnownHostsCommand',
    'verifyHostKeyDNS',
    'pkcs11Provider',
    'PKCS11Provider',
    'securityKeyProvider',
    'addKeysToAgent',
    'identityAgent',
    'xAuthLocation',
    'escapeChar',
    'ipQoS',
    'matchExec',
    'include',
    'configFile',
    'extraArgs',
  ])('has no member %s through which an option could come', (name) => {
    const doors = (changed: TunnelDocument): object[] => {
      const { ssh, jumpHosts, identities, knownHosts, forwards, heartbeat, retry } = changed;
      const hops = [ssh, ...jumpHosts];
      const options = hops.map((hop) => hop.options);
      return [changed, ...hops, ...options, ...identities, ...knownHosts, ...forwards, heartbeat, retry];
    };
    const count = doors(document).length;
    expect(count).toBeGreaterThan(10);
    for (let door = 0; door < count; door++) {
      const changed = structuredClone(document);
      Object.assign(doors(changed)[door] ?? {}, { [name]: 'id' });
      expect(changed).not.toEqual(document);
      const parsed = parseDocument(JSON.stringify(changed));
      // A newer controller may say more: what is not known is ignored.
      if (!parsed.ok) throw new Error('an unknown member is ignored');
      expect(parsed.value).toEqual(document);
    }
    // Of a person's manifest nothing is ignored.
    for (const spec of [{ [name]: 'id' }, { ssh: { [name]: 'id' } }, { ssh: { options: { [name]: 'id' } } }])
      expect(() => tunnelOf(spec)).toThrow(/unknown field/);
    expect(() => tunnelOf({ ssh: { jumpHosts: [{ host: 'edge', options: { [name]: 'id' } }] } })).toThrow(
      /unknown field/,
    );
  });

  it('must name slots that it has', () => {
    const changed = withValue(document, ['ssh', 'knownHosts'], 'hop-3');
    expect(parseDocument(JSON.stringify(changed))).toMatchObject({ ok: false, errors: [{ field: 'ssh.knownHosts' }] });
  });

  it.each(['', '{', 'null', '[]', '"x"', `"${'x'.repeat(120_000)}"`])('is refused in a sentence (%#)', (text) => {
    const parsed = parseDocument(text);
    expect(parsed.ok ? '' : parsed.errors.map(errorText).join()).toMatch(/expected|must be of type object/);
  });
});
