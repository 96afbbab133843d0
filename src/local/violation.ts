import type { FieldError } from '../api/parse.ts';

/** One thing that is wrong with what was given, and where. */
export type Violation = {
  readonly file: string;
  /** Both from 1; absent where the problem is the file itself. */
  readonly line?: number;
  readonly column?: number;
  /** `SshTunnel/orders-db`; absent where the document says neither kind nor name. */
  readonly document?: string;
  /** As Kubernetes writes paths; absent where the problem is the document itself. */
  readonly field?: string;
  /** A word or two on what kind of problem it is, as the API server has them: `Invalid value`, `Required value`, … */
  readonly problem: string;
  /** What was expected, or what the rule is. */
  readonly expected: string;
  /** What came. Never a value of a Secret. */
  readonly got: string;
  /** `expected` is a whole sentence, a rule that was broken. */
  readonly isRule?: true;
};

/** `tunnel.yaml:14:9: SshTunnel/orders-db: spec.ssh.port: expected at most 65535; got 70000` */
export const violationText = ({ file, line, column, document, field, expected, got, isRule }: Violation): string => {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  const sentence = `${isRule ? '' : 'expected '}${expected}; got ${got}`;
  return [place, document, field, sentence].filter((part) => part !== undefined && part !== '').join(': ');
};

/** A file as it is named in a violation: an empty name is a variable of a shell that is empty. */
export const shownFile = (path: string): string => (path === '' ? '""' : path);

/** What the words of the API server say was expected; else the rule, in its own words. */
export const expectation = ({ message }: FieldError): Pick<Violation, 'expected' | 'isRule'> => {
  for (const [pattern, words] of WORDS) if (pattern.test(message)) return { expected: message.replace(pattern, words) };
  return { expected: message, isRule: true };
};

const WORDS: readonly (readonly [RegExp, string])[] = [
  [/^expected /, ''],
  [/^must be of type (integer|object|array)$/, 'an $1'],
  [/^must be of type /, 'a '],
  [/^should be less than or equal to /, 'at most '],
  [/^should be greater than or equal to /, 'at least '],
  [/^should have at least (\d+) items$/, 'at least $1 entries'],
  [/^must have at most (\d+) items$/, 'at most $1 entries'],
  [/^should be at least (\d+) chars long$/, 'at least $1 characters'],
  [/^may not be more than (\d+) bytes$/, 'at most $1 characters'],
  [/^supported values: /, 'one of '],
];

const LONGEST_SHOWN = 120;

/** A value for a person, shortened. Only for what is no Secret; and should a key have been put in a wrong place, it stays hidden too. */
export const shownValue = (value: unknown): string => {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? 'nothing';
  if (text.includes('PRIVATE KEY')) return `${text.length} characters with a private key in them`;
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
};
