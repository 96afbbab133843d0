import type { Option } from './ssh-options.ts';

export type HostBlock = { readonly host: string; readonly options: readonly Option[] };

/** Visible ASCII without what has a meaning to the parser of ssh_config or to the resolver of hosts: quotes, backslash, #, $, ~, blanks. */
const WORD = /^[A-Za-z0-9/:*?@^+_][A-Za-z0-9/:*?@^+_.,=%-]*$|^-[A-Za-z0-9*?][A-Za-z0-9@.,*?-]*$/;

/**
 * The text of a private ssh_config: one block per host, one word per value. Throws RangeError on anything else: the schema has judged
 * all values before, and what slips by there must not become a line here.
 */
export const configText = (blocks: readonly HostBlock[]): string =>
  blocks
    .flatMap(({ host, options }) => [
      `Host ${word(host)}`,
      ...options.map(([keyword, value]) => `  ${keyword} ${word(value)}`),
    ])
    .concat('')
    .join('\n');

const word = (value: string): string => {
  if (!WORD.test(value)) throw new RangeError(`expected one plain word for ssh_config; got ${JSON.stringify(value)}`);
  return value;
};
