import { describe, expect, it } from 'vitest';
import { type Monitor, monitorForwards, parseMonitor } from '../../src/tunnel/monitor.ts';

const loop = (port: number): Monitor => ({ method: 'Loop', port });

describe('-M and AUTOSSH_PORT', () => {
  it.each<[string | null, Monitor, string[]]>([
    [null, { method: 'Auto' }, []],
    ['auto', { method: 'Auto' }, []],
    ['0', { method: 'None' }, ['port set to 0, monitoring disabled']],
    ['0x0', { method: 'None' }, ['port set to 0, monitoring disabled']],
    ['0:7', { method: 'None' }, ['port set to 0, monitoring disabled']],
    ['20000', loop(20000), []],
    ['1', loop(1), []],
    ['65534', loop(65534), []],
    [' 20000', loop(20000), []],
    ['0x4e20', loop(20000), []],
    ['047040', loop(20000), []],
    // A C int keeps the low 32 bits.
    ['4294987296', loop(20000), []],
    ['20000:7', { method: 'Echo', port: 20000, echoPort: 7 }, []],
    ['20000:0x7', { method: 'Echo', port: 20000, echoPort: 7 }, []],
  ])('%j', (spec, monitor, notes) => {
    expect(parseMonitor(spec)).toEqual({ ok: true, monitor, notes: notes.map((text) => ({ level: 6, text })) });
  });

  it.each([
    // The first words are 1.4g's own, to the byte; ours follow.
    ['', 'invalid port ""'],
    ['abc', 'invalid port "abc"'],
    ['20000x', 'invalid port "20000x"'],
    ['20000 ', 'invalid port "20000 "'],
    ['1.5', 'invalid port "1.5"'],
    ['Auto', 'invalid port "Auto"'],
    [':7', 'invalid port ""'],
    ['65535', 'monitor port (65535) out of range'],
    ['-1', 'monitor port (-1) out of range'],
    ['2147483648', 'monitor port (-2147483648) out of range'],
    ['20000:', 'invalid echo port  ""'],
    ['20000:0', 'invalid echo port  "0"'],
    ['20000:x', 'invalid echo port  "x"'],
    ['20000:7:7', 'invalid echo port  "7:7"'],
    // The echo port is looked at first.
    ['abc:x', 'invalid echo port  "x"'],
  ])('refuses %j', (spec, words) => {
    const parsed = parseMonitor(spec);
    if (parsed.ok) throw new Error('expected a problem');
    expect(parsed.problem.level).toBe(3);
    expect(parsed.problem.text).toMatch(/: expected /);
    expect(parsed.problem.text.startsWith(`${words}: `)).toBe(true);
  });
});

describe('the forwards of a monitor', () => {
  it.each<[Monitor, string[]]>([
    [loop(20000), ['-L', '20000:127.0.0.1:20000', '-R', '20000:127.0.0.1:20001']],
    [loop(65534), ['-L', '65534:127.0.0.1:65534', '-R', '65534:127.0.0.1:65535']],
    [{ method: 'Echo', port: 20000, echoPort: 7 }, ['-L', '20000:127.0.0.1:7']],
    [{ method: 'None' }, []],
    [{ method: 'Auto' }, []],
  ])('%j', (monitor, forwards) => expect(monitorForwards(monitor)).toEqual(forwards));
});
