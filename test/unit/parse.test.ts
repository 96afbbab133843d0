import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isIP } from '../../src/api/ip.ts';
import { errorText, parseSshTunnel } from '../../src/api/parse.ts';
import { manifests } from '../support/manifests.ts';

const textOf = (object: unknown): string => {
  const parsed = parseSshTunnel(object);
  return parsed.ok ? '' : parsed.errors.map(errorText).join('\n');
};

describe('parseSshTunnel', () => {
  it.each(manifests('accepted').map((one) => [one.name, one] as const))('accepts %s', (_name, { object }) => {
    expect(textOf(object)).toBe('');
  });

  it.each(manifests('refused').map((one) => [one.name, one] as const))('refuses %s', (_name, { object, expected }) => {
    expect(textOf(object)).toContain(expected);
  });

  it('accepts what it gave back: the defaults are valid and stay', () => {
    for (const { object } of manifests('accepted')) {
      const parsed = parseSshTunnel(object);
      if (!parsed.ok) throw new Error(textOf(object));
      expect(parseSshTunnel(parsed.value)).toEqual(parsed);
    }
  });

  it('never throws, whatever it is given', () => {
    fc.assert(fc.property(fc.anything(), (anything) => parseSshTunnel(anything).ok === false));
  });

  it('reports everything at once, each with its path', () => {
    const [minimal] = manifests('accepted').filter(({ name }) => name === 'minimal');
    const object = structuredClone(minimal?.object) as { spec: Record<string, unknown> };
    object.spec['suspend'] = 'yes';
    object.spec['mode'] = 'Both';
    object.spec['forwards'] = [];
    expect(textOf(object).split('\n')).toEqual([
      'spec.mode: Unsupported value: "Both": supported values: "Sidecar", "Gateway"',
      'spec.suspend: Invalid value: "yes": must be of type boolean',
      'spec.forwards: Invalid value: []: should have at least 1 items',
    ]);
  });
});

describe('isIP', () => {
  const mapped = (text: string) => /^(0*:)*:?(0+:)*ffff:/i.test(text);
  it('agrees with node:net, zones and mapped addresses apart', () => {
    const texts = fc.oneof(fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:.]{1,24}$/), fc.string());
    fc.assert(
      fc.property(texts, (text) => {
        fc.pre(!text.includes('%') && !mapped(text));
        return isIP(text) === (isIPv4(text) || isIPv6(text));
      }),
      { numRuns: 5_000 },
    );
  });

  it.each([
    '::ffff:1.2.3.4',
    '0:0:0:0:0:ffff:1.2.3.4',
    '::FFFF:0102:0304',
    '0::ffff:1:2',
    '1.2.3.4::',
    'fe80::1%eth0',
    '01.2.3.4',
  ])('refuses %s', (text) => expect(isIP(text)).toBe(false));
  it.each([
    '::',
    '::1',
    '64:ff9b::1.2.3.4',
    '1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7::',
    '255.255.255.255',
    '0.0.0.0',
    '::1:ffff:1:2',
  ])('accepts %s', (text) => expect(isIP(text)).toBe(true));
});
