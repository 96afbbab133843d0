/** A number as C's strtol(3) and strtoul(3) with base 0 read it, and what they left unread. */
export type CNumber = {
  /** The value, exact, before C would squeeze it into an int. */
  readonly value: bigint;
  /** What follows the number; empty where the whole text was one. */
  readonly rest: string;
};

/**
 * Reads a number as strtol(3) with base 0 does: leading white space and a sign are taken, `0x` means hexadecimal, a leading `0`
 * octal, everything else decimal. autossh 1.4g reads each of its numbers so, which is why `AUTOSSH_PORT=0x4e20` works. A text
 * without any digit gives the value 0 and is left whole in `rest`.
 */
export const parseCNumber = (text: string): CNumber => {
  const found = /^[ \t\n\v\f\r]*([+-]?)(0[xX](?=[0-9a-fA-F])[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)/.exec(text);
  if (found === null) return { value: 0n, rest: text };
  const [all, sign, digits = ''] = found;
  const magnitude = /^0[0-7]/.test(digits) ? BigInt(`0o${digits.slice(1)}`) : BigInt(digits);
  return { value: sign === '-' ? -magnitude : magnitude, rest: text.slice(all.length) };
};

/** The value as a C `int` keeps it: the low 32 bits, signed. 4294987296 becomes 20000, as autossh's own ports do. */
export const toInt = (value: bigint): number => Number(BigInt.asIntN(32, value));
