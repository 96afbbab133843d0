import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCNumber, toInt } from '../../src/tunnel/c-number.ts';

describe('a number as strtol(3) reads it', () => {
  it.each([
    ['20000', 20000n, ''],
    ['0', 0n, ''],
    ['007', 7n, ''],
    ['0x4e20', 20000n, ''],
    ['0X4E20', 20000n, ''],
    ['010', 8n, ''],
    ['  \t\n\v\f\r12', 12n, ''],
    ['+5', 5n, ''],
    ['-5', -5n, ''],
    ['-0x10', -16n, ''],
    ['-010', -8n, ''],
    // What is no digit any more is left over; where there was no digit, everything is.
    ['12 ', 12n, ' '],
    ['12s', 12n, 's'],
    ['1.5', 1n, '.5'],
    ['1e3', 1n, 'e3'],
    ['08', 0n, '8'],
    ['0x', 0n, 'x'],
    ['0xg', 0n, 'xg'],
    ['- 5', 0n, '- 5'],
    ['--5', 0n, '--5'],
    ['', 0n, ''],
    [' ', 0n, ' '],
    ['abc', 0n, 'abc'],
    ['١٢', 0n, '١٢'],
  ])('%j', (text, value, rest) => expect(parseCNumber(text)).toEqual({ value, rest }));

  it('is read back from every base, and leaves every rest', () => {
    const number = fc.bigInt({ min: 0n, max: 1n << 64n });
    const rest = fc.constantFrom('', 's', ' 1', ':2', '.0', '-');
    fc.assert(
      fc.property(number, fc.constantFrom(8, 10, 16), fc.boolean(), rest, (value, base, minus, rest) => {
        const prefix = base === 8 ? '0' : base === 16 ? '0x' : '';
        const text = `${minus ? '-' : ''}${prefix}${value.toString(base)}${rest}`;
        expect(parseCNumber(text)).toEqual({ value: minus ? -value : value, rest });
      }),
    );
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const { rest } = parseCNumber(text);
        expect(text.endsWith(rest)).toBe(true);
      }),
    );
  });
});

describe('a C int', () => {
  it.each([
    [0n, 0],
    [-1n, -1],
    [2147483647n, 2147483647],
    [2147483648n, -2147483648],
    [4294987296n, 20000],
    [4294967296n, 0],
    [4294967295n, -1],
  ])('of %d', (value, int) => expect(toInt(value)).toBe(int));
});
