import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineSplitter } from '../../src/tunnel/lines.ts';

const split = (...chunks: Uint8Array[]): string[] => {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return lines;
};
const bytes = (text: string) => new TextEncoder().encode(text);

describe('the lines of a stream', () => {
  it.each<[string, string[]]>([
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\r\nb\r\n', ['a', 'b']],
    ['\n\n', ['', '']],
    ['a\r', ['a']],
    ['a\rb\n', ['a\rb']],
    ['a\r\r\n', ['a\r']],
  ])('%j', (text, lines) => expect(split(bytes(text))).toEqual(lines));

  it('keeps characters whole that two pieces share', () => {
    const [head, tail] = [bytes('Schlüssel €\n').slice(0, 5), bytes('Schlüssel €\n').slice(5)];
    expect(split(head, tail)).toEqual(['Schlüssel €']);
  });

  it('cuts what is too long, and starts afresh after it', () => {
    const [long = '', next] = split(bytes(`${'x'.repeat(1_000_000)}\nnext\n`));
    expect(long).toBe('x'.repeat(4096));
    expect(next).toBe('next');
  });

  it('are the same, whatever the pieces in which it comes', () => {
    const line = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.constant('x'.repeat(5000)),
      fc.constant('ü'.repeat(3000)),
      fc.uint8Array().map((some) => new TextDecoder('latin1').decode(some)),
    );
    const text = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r', '')), { maxLength: 8 });
    fc.assert(
      fc.property(text, fc.array(fc.integer({ min: 1, max: 4200 })), (parts, sizes) => {
        const all = bytes(parts.map((part) => part.join('')).join(''));
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const size of sizes) {
          chunks.push(all.slice(at, at + size));
          at += size;
        }
        chunks.push(all.slice(at));
        expect(split(...chunks)).toEqual(split(all));
      }),
      { numRuns: 500 },
    );
  }, 300_000);
});
