import { expect, it } from 'vitest';
import { createJsonLog } from '../../src/telemetry/json-log.ts';
import { logFormat } from '../../src/telemetry/pretty-log.ts';

const written = (act: (log: ReturnType<typeof createJsonLog>) => void): string => {
  let text = '';
  const write = (bytes: Uint8Array | string) => {
    text += String(bytes);
  };
  const sink = { write, flush: async () => {} };
  act(createJsonLog(sink, { program: 'autossh' }, 'pretty'));
  return text;
};

it('is a line of words for a person', () => {
  const text = written((log) =>
    log.line(4, 'ssh ended', { reason: 'RemoteClosed', detail: 'Connection closed', pauseMs: 0 }),
  );
  expect(text).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} warn {2}ssh ended reason=RemoteClosed detail="Connection closed" pauseMs=0\n$/,
  );
});

it('tells a terminal nothing that it would obey, and stays one line', () => {
  const evil = '\u001b]0;owned\u0007\u001b[2J\r\n\u009b31mred\u0000';
  const text = written((log) => {
    log.line(6, evil, { line: evil });
    log.line(6, 'x', { line: `a\u001b[31mb\nc` });
  });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  expect(text.trimEnd().split('\n')).toHaveLength(2);
  expect(text).toContain('red');
});

it('is chosen by the terminal unless asked for', () => {
  expect(logFormat(undefined, true)).toBe('pretty');
  expect(logFormat(undefined, false)).toBe('json');
  expect(logFormat('json', true)).toBe('json');
  expect(() => logFormat('xml', true)).toThrow('expected --log-format json or pretty; got "xml"');
});
