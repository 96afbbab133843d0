import type * as z from 'zod';

/**
 * One rule that a type cannot say, twice: `cel` for the API server, `holds` for everybody else. The two must mean the same; the table
 * of manifests in test/fixtures/manifests holds them against each other on a real API server.
 */
export type Rule<T> = {
  readonly cel: string;
  /** What was expected, as a sentence; both sides say it word for word. */
  readonly message: string;
  readonly holds: (value: T) => boolean;
  /** The words in front of the message; the default is Invalid value. FieldValueDuplicate is not offered: it hides the message. */
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired';
  /** The member that the complaint is about, where it is not the value itself. */
  readonly member?: string;
};

/** A rule about a change, which only the API server can judge, since it alone knows the former value. */
export type TransitionRule = Omit<Rule<never>, 'holds'>;

export const VALIDATIONS = 'x-kubernetes-validations';

/** The schema with the rules: checked by zod, and carried into the CRD as CEL. */
export const ruled = <S extends z.ZodType>(
  schema: S,
  rules: readonly Rule<z.output<S>>[],
  transitions: readonly TransitionRule[] = [],
): S => {
  const checked = schema.superRefine((value, context) => {
    for (const { holds, message, reason = 'FieldValueInvalid', member } of rules)
      if (!holds(value))
        context.addIssue({ code: 'custom', message, path: member === undefined ? [] : [member], params: { reason } });
  });
  return checked.meta({ [VALIDATIONS]: [...rules, ...transitions].map(validation) });
};

const validation = ({ cel, message, reason, member }: TransitionRule) => ({
  rule: cel,
  message,
  ...(reason === undefined ? {} : { reason }),
  ...(member === undefined ? {} : { fieldPath: `.${member}` }),
});
