import type * as z from 'zod';

/** One thing that is wrong with an object, in the words of the API server. */
export type FieldError = {
  /** Where, as Kubernetes writes paths: `spec.forwards[1].local.listen.port`. */
  readonly field: string;
  /** E.g. `Invalid value`, `Required value`, `Unsupported value`, `Forbidden`, `Duplicate value`. */
  readonly problem: string;
  /** What came, as JSON, shortened; absent where nothing came. Specifications hold no Secrets, so it may be shown. */
  readonly got?: string;
  /** What was expected and, where it is not plain, what to do. */
  readonly message: string;
};

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly errors: readonly FieldError[] };

/** `spec.ssh.port: Invalid value: 70000: should be less than or equal to 65535` */
export const errorText = ({ field, problem, got, message }: FieldError): string =>
  [field, problem, got, message].filter((part) => part !== undefined && part !== '').join(': ');

export type Path = readonly PropertyKey[];
export const fieldPath = (path: Path): string =>
  path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  );

/** What zod found wrong, in the words of the API server. */
export const fieldErrorsOf = (error: z.ZodError, object: unknown): FieldError[] =>
  error.issues.flatMap((issue) => fieldErrors(issue, object));

const fieldErrors = (issue: z.core.$ZodIssue, object: unknown): FieldError[] => {
  const value = valueAt(object, issue.path);
  const at = { field: fieldPath(issue.path) };
  const invalid = (message: string): FieldError[] => [{ ...at, problem: 'Invalid value', got: shown(value), message }];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        field: fieldPath([...issue.path, key]),
        problem: 'unknown field',
        message: `unknown field "${fieldPath([...issue.path, key])}": expected only the fields that kubectl explain sshtunnel shows`,
      }));
    case 'invalid_type':
      return value === undefined
        ? [{ ...at, problem: 'Required value', message: `expected ${article(issue.expected)}` }]
        : invalid(`must be of type ${KUBERNETES_TYPE[issue.expected] ?? issue.expected}`);
    case 'invalid_union':
      return invalid(issue.message);
    case 'invalid_value':
      return value === undefined
        ? [
            {
              ...at,
              problem: 'Required value',
              message: `expected ${issue.values.map((one) => JSON.stringify(one)).join(', ')}`,
            },
          ]
        : [
            {
              ...at,
              problem: 'Unsupported value',
              got: shown(value),
              message: `supported values: ${issue.values.map((one) => JSON.stringify(one)).join(', ')}`,
            },
          ];
    case 'too_big':
      if (issue.origin === 'string')
        return [{ ...at, problem: 'Too long', message: `may not be more than ${issue.maximum} bytes` }];
      if (issue.origin === 'array')
        return [
          {
            ...at,
            problem: 'Too many',
            got: String(lengthOf(value)),
            message: `must have at most ${issue.maximum} items`,
          },
        ];
      return invalid(`should be less than or equal to ${issue.maximum}`);
    case 'too_small':
      if (issue.origin === 'string') return invalid(`should be at least ${issue.minimum} chars long`);
      if (issue.origin === 'array') return invalid(`should have at least ${issue.minimum} items`);
      return invalid(`should be greater than or equal to ${issue.minimum}`);
    case 'custom':
      return [ruleError(issue, value, at.field)];
    default:
      return invalid(issue.message);
  }
};

const PROBLEMS: Readonly<Record<string, string>> = {
  FieldValueForbidden: 'Forbidden',
  FieldValueRequired: 'Required value',
};

const ruleError = (issue: z.core.$ZodIssueCustom, value: unknown, field: string): FieldError => {
  const problem = PROBLEMS[String(issue.params?.['reason'])] ?? 'Invalid value';
  const plain = typeof value === 'string' || typeof value === 'number';
  return { field, problem, ...(plain ? { got: shown(value) } : {}), message: issue.message };
};

const KUBERNETES_TYPE: Readonly<Record<string, string>> = { int: 'integer', number: 'integer', record: 'object' };
const article = (type: string) => `${/^[aeio]/.test(type) ? 'an' : 'a'} ${KUBERNETES_TYPE[type] ?? type}`;

/** What an object holds at a path. */
export const valueAt = (object: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (value, part) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[part] : undefined,
    object,
  );

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

const LONGEST_SHOWN = 120;
const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
};
