/** An argument as a POSIX shell takes it, quoted only where it must be. */
export const shellQuote = (argument: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
