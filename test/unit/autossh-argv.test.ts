import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AutosshRun, parseAutosshArgv } from '../../src/tunnel/autossh-argv.ts';

const run = (line: string | string[]): AutosshRun => {
  const parsed = parseAutosshArgv(typeof line === 'string' ? line.split(' ') : line);
  if (parsed.kind !== 'run') throw new Error(`expected a run, got ${JSON.stringify(parsed)}`);
  return parsed;
};

describe('the command line', () => {
  it.each<[string, Partial<AutosshRun> & { ssh: string }]>([
    // What autossh is given, what ssh is given; `|` is where the monitor's forwards go.
    ['host', { ssh: '| host', monitor: null }],
    ['-M 20000 host', { ssh: '| host', monitor: '20000' }],
    ['-M20000 host', { ssh: '| host', monitor: '20000' }],
    ['-M 20000:7 host', { ssh: '| host', monitor: '20000:7' }],
    ['-N -M 0 -L 1:h:2 host', { ssh: '-N | -L 1:h:2 host', monitor: '0', noSession: true }],
    // The last -M counts, the first one is the place.
    ['-M 1 -N -M 2 host', { ssh: '| -N host', monitor: '2' }],
    ['host -M 0', { ssh: 'host |', monitor: '0' }],
    // -f is autossh's own, alone or in a bundle; an argument keeps its letters.
    ['-f -M 0 host', { ssh: '| host', background: true }],
    ['-fN -M 0 host', { ssh: '-N | host', background: true, noSession: true }],
    ['-NfT -M 0 host', { ssh: '-NT | host', background: true }],
    ['-M 0 -fNL 1:h:2 host', { ssh: '| -NL 1:h:2 host', background: true, noSession: true }],
    ['-M 0 -L1:f:2 host', { ssh: '| -L1:f:2 host', background: false }],
    ['-M 0 -lf host', { ssh: '| -lf host', background: false }],
    ['-M 0 -l f host', { ssh: '| -l f host', background: false }],
    ['-M 0 -o f host', { ssh: '| -o f host', background: false }],
    ['-M 0 -nTfp22 host', { ssh: '| -nTp22 host', background: true }],
    ['-NM 0 host', { ssh: '-N | host', monitor: '0', noSession: true }],
    ['-fM 0 host', { ssh: '| host', monitor: '0', background: true }],
    // An option's argument may look like an option, or like the end of them.
    ['-M 0 -l -f host', { ssh: '| -l -f host', background: false }],
    ['-M 0 -l -- host', { ssh: '| -l -- host' }],
    ['-M 0 -i -M host', { ssh: '| -i -M host', monitor: '0' }],
    // The first -- is autossh's own, a second one is ssh's.
    ['-M 0 -- host -f', { ssh: '| host -f', background: false }],
    ['-M 0 -- -- host', { ssh: '| -- host' }],
    ['-- host', { ssh: '| host', monitor: null }],
    ['-M 0 host -- -f', { ssh: '| host -f', background: false }],
    // After the host options go on, as ssh has it; the words of the command stay.
    ['-M 0 host -N', { ssh: '| host -N', noSession: true }],
    ['-M 0 host -f', { ssh: '| host', background: true }],
    ['-M 0 host ls -f -M 3', { ssh: '| host ls -f -M 3', background: false, monitor: '0' }],
    ['-M 0 host tar -cf - .', { ssh: '| host tar -cf - .', background: false, noSession: false }],
    ['-M 0 -', { ssh: '| -' }],
    // What ssh will do.
    ['-M 0 -o SessionType=none host', { ssh: '| -o SessionType=none host', noSession: true }],
    ['-M 0 -osessiontype=None host', { ssh: '| -osessiontype=None host', noSession: true }],
    ['-M 0 -o SessionType=default host', { ssh: '| -o SessionType=default host', noSession: false }],
    // It leaves with 0 as soon as it is logged in: another one would be one more, not the same again.
    [
      '-M 0 -N -oForkAfterAuthentication=yes host',
      { ssh: '| -N -oForkAfterAuthentication=yes host', noSession: false },
    ],
    ['-M 0 -S /run/ctl host', { ssh: '| -S /run/ctl host', ownControlSocket: true }],
    ['-M 0 -oControlPath=/run/ctl host', { ssh: '| -oControlPath=/run/ctl host', ownControlSocket: true }],
    ['-M 0 -o controlmaster=auto host', { ssh: '| -o controlmaster=auto host', ownControlSocket: true }],
    [
      '-M 0 -i a -ib host -oIdentityFile=c',
      { ssh: '| -i a -ib host -oIdentityFile=c', identityFiles: ['a', 'b', 'c'] },
    ],
    ['-M 0 host ls -i a', { ssh: '| host ls -i a', identityFiles: [] }],
    ['-M 0 -P tag host', { ssh: '| -P tag host' }],
  ])('%s', (line, { ssh, ...expected }) => {
    const { before, after, ...rest } = run(line);
    expect([...before, '|', ...after].join(' ')).toBe(ssh);
    expect(rest).toMatchObject(expected);
  });

  it.each([['-V'], ['-M 0 -V host'], ['-NV'], ['host -V']])('%s asks for the version', (line) => {
    expect(parseAutosshArgv(line.split(' '))).toEqual({ kind: 'version' });
  });

  it.each<[string[], string | undefined]>([
    [[], undefined],
    [['-M', '0'], undefined],
    [['-f'], undefined],
    [['-N', '--'], undefined],
    [['-M'], "option requires an argument -- 'M'"],
    [['-M', '0', '-L'], "option requires an argument -- 'L'"],
    [['-M', '0', '-NfL'], "option requires an argument -- 'L'"],
    [['-Z', 'host'], "invalid option -- 'Z'"],
    [['-N:', 'host'], "invalid option -- ':'"],
    [['--help'], "invalid option -- '-'"],
  ])('%j is answered with the usage', (argv, problem) => {
    expect(parseAutosshArgv(argv)).toEqual({ kind: 'usage', ...(problem === undefined ? {} : { problem }) });
  });

  it('keeps option arguments with spaces and empty ones as they are', () => {
    const options = ['-o', 'ProxyCommand=nc -X 5 %h %p', '-l', '', 'host'];
    expect(run(['-M', '0', ...options]).after).toEqual(options);
  });

  it('gives ssh every word but its own: never a -f as a flag, never a -M', () => {
    const flags = fc.stringMatching(/^[1246ACGKNTXYagknqstvxy]{1,4}$/).map((letters) => [`-${letters}`]);
    const option = fc
      .tuple(fc.constantFrom(...'BDEFIJLQRSWbceilmopw'), fc.stringMatching(/^[a-z0-9:=/.-]{1,8}$/), fc.boolean())
      .map(([letter, value, stuck]) => (stuck ? [`-${letter}${value}`] : [`-${letter}`, value]));
    const own = fc.oneof(
      fc.constant({ words: ['-f'], port: null }),
      fc.nat(65_534).map((port) => ({ words: ['-M', `${port}`], port: `${port}` })),
      fc.nat(65_534).map((port) => ({ words: [`-M${port}`], port: `${port}` })),
    );
    const sshs = fc.oneof(flags, option).map((words) => ({ words, port: undefined }));
    fc.assert(
      fc.property(fc.array(fc.oneof(own, sshs)), fc.array(fc.constantFrom('ls', '-f', '-M', '1')), (pieces, more) => {
        const command = more.length === 0 ? [] : ['sh', ...more];
        const { before, after, background, monitor } = run([
          ...pieces.flatMap(({ words }) => words),
          'host',
          ...command,
        ]);
        const kept = pieces.flatMap(({ words, port }) => (port === undefined ? words : []));
        expect([...before, ...after]).toEqual([...kept, 'host', ...command]);
        expect(background).toBe(pieces.some(({ words }) => words[0] === '-f'));
        const ports = pieces.flatMap(({ port }) => (typeof port === 'string' ? [port] : []));
        expect(monitor).toBe(ports.at(-1) ?? null);
      }),
      { numRuns: 1000 },
    );
  });

  it('never throws', () => {
    fc.assert(fc.property(fc.array(fc.string()), (argv) => void parseAutosshArgv(argv)));
  });
});
