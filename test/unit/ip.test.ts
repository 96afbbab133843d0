import { isIP as versionOf } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isIP } from '../../src/api/ip.ts';

/** Node's own judge, less what isIP of Kubernetes does not take: zones, and IPv4 addresses mapped into IPv6. */
const expected = (text: string): boolean => {
  if (versionOf(text) === 0 || text.includes('%')) return false;
  if (versionOf(text) === 4) return true;
  return !/^\[::ffff:[0-9a-f]+:[0-9a-f]+\]$/.test(new URL(`http://[${text}]`).hostname);
};

const word = fc.constantFrom('0', '0', '0', '0000', 'ffff', 'FFFF', '1', 'a0', '', '', 'g', '12345');
const dotted = fc.constantFrom('1.2.3.4', '0.0.0.0', '255.255.255.255', '256.1.1.1', '01.2.3.4', '1.2.3', '1.2.3.4.5');
const groups = fc.array(word, { maxLength: 9 });
const address = fc.oneof(
  dotted,
  fc.tuple(groups, fc.option(dotted)).map(([front, last]) => [...front, ...(last === null ? [] : [last])].join(':')),
  fc
    .tuple(groups, groups, fc.option(dotted))
    .map(([front, back, last]) => `${front.join(':')}::${[...back, ...(last === null ? [] : [last])].join(':')}`),
);

it('judges addresses as Kubernetes does', () => {
  fc.assert(
    fc.property(address, (text) => {
      expect(isIP(text), text).toBe(expected(text));
    }),
    { numRuns: 20_000 },
  );
});

it.each([
  ['::', true],
  ['::1', true],
  ['2001:db8::8a2e:370:7334', true],
  ['1:2:3:4:5:6:7:8', true],
  ['1:2:3:4:5:6:7::', true],
  ['1:2:3:4:5:6:7::8', false],
  ['::1.2.3.4', true],
  ['64:ff9b::192.0.2.1', true],
  ['1:2:3:4:5:6:1.2.3.4', true],
  ['1:2:3:4:5:6::1.2.3.4', false],
  ['::ffff:1.2.3.4', false],
  ['0:0::FFFF:0102:0304', false],
  ['0:0:0:0:0:ffff::', false],
  ['::ffff', true],
  ['::ffff:1', true],
  ['fe80::1%eth0', false],
  ['1::2::3', false],
  [':::', false],
])('%s: %s', (text, verdict) => {
  expect(isIP(text)).toBe(verdict);
});
