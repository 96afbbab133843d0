import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTarget } from '../../src/local/known-hosts.ts';
import { privateBases } from '../../src/local/private-directory.ts';
import { shellQuote } from '../../src/local/shell-quote.ts';
import { socketBases } from '../../src/supervisor/socket-bases.ts';

const MAC = '/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T';

describe('where the files of a run lie', () => {
  it('on Linux: in memory first', () => {
    const env = { XDG_RUNTIME_DIR: '/run/user/1000' };
    expect(privateBases({ platform: 'linux', env, tmpdir: '/tmp' })).toEqual(['/dev/shm', '/run/user/1000', '/tmp']);
    expect(privateBases({ platform: 'linux', env: {}, tmpdir: '/var/tmp' })).toEqual(['/dev/shm', '/var/tmp', '/tmp']);
  });

  it('on macOS: in $TMPDIR, which is the user’s alone; there is no /dev/shm', () => {
    expect(privateBases({ platform: 'darwin', env: {}, tmpdir: MAC })).toEqual([MAC, '/tmp']);
  });
});

describe('where control sockets lie', () => {
  it('on Linux: with at most 107 bytes when ssh has added its 17', () => {
    const fits = `/${'d'.repeat(107 - 17 - '/autossh-XXXXXX/ctl'.length - 1)}`;
    const env = { XDG_RUNTIME_DIR: '/run/user/1000' };
    expect(socketBases({ platform: 'linux', env, tmpdir: fits })).toEqual({
      usable: ['/run/user/1000', fits, '/tmp', '/dev/shm', '/var/tmp'],
      tooLong: [],
    });
    expect(socketBases({ platform: 'linux', env: {}, tmpdir: `${fits}d` }).tooLong).toEqual([`${fits}d`]);
  });

  it('on macOS: with at most 103; the directory of a run in its long $TMPDIR is too deep, /tmp is not', () => {
    expect(socketBases({ platform: 'darwin', env: {}, tmpdir: MAC })).toEqual({
      usable: [MAC, '/tmp', '/var/tmp'],
      tooLong: [],
    });
    const run = `${MAC}/autossh-run-0-12345-AbCdEf/0/t`;
    expect(socketBases({ platform: 'darwin', env: {}, tmpdir: run })).toEqual({
      usable: ['/tmp', '/var/tmp'],
      tooLong: [run],
    });
  });
});

describe('shellQuote', () => {
  it('gives a shell back what it was given', () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom(...'abc \'"$`\\!*?[]{}()<>|&;#~=%\n\té-') }), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(words, (given) => {
        const script = `printf '%s\\0' x ${given.map(shellQuote).join(' ')}`;
        const out = execFileSync('sh', ['-c', script], { encoding: 'utf8' });
        return out === ['x', ...given].map((word) => `${word}\0`).join('');
      }),
      { numRuns: 100 },
    );
  });
});

describe('parseTarget', () => {
  it.each([
    ['bastion.example.com', { host: 'bastion.example.com', port: 22 }],
    ['bastion.example.com:2222', { host: 'bastion.example.com', port: 2222 }],
    ['192.0.2.1:22', { host: '192.0.2.1', port: 22 }],
    ['::1', { host: '::1', port: 22 }],
    ['2001:db8::1:2222', { host: '2001:db8::1:2222', port: 22 }],
    ['[::1]', { host: '::1', port: 22 }],
    ['[::1]:2222', { host: '::1', port: 2222 }],
  ])('%s', (text, target) => expect(parseTarget(text)).toEqual(target));

  it('takes no host that starts with a dash, whatever else is in it', () => {
    fc.assert(fc.property(fc.string(), (text) => 'problem' in parseTarget(`-${text}`)));
  });
});
