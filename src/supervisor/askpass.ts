import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Env } from './child-env.ts';

/**
 * What ssh's tools run to be told a passphrase: it answers the first question only, since they ask for ever while the answer is wrong.
 * The question is text and nothing more; the passphrase is in a file, in no argument and in no variable.
 */
const SCRIPT = `#!/bin/sh
case "$1" in
Enter*) exec cat -- "$AUTOSSH_PASSPHRASE_FILE" ;;
esac
exit 1
`;

/** Calls `use` with an environment in which OpenSSH's tools find the passphrase. It lies in `dir`, mode 0600, for that time alone. */
export const withPassphrase = async <T>(
  dir: string,
  passphrase: string,
  env: Env,
  use: (env: Env) => Promise<T>,
): Promise<T> => {
  const [program, file] = [join(dir, 'askpass'), join(dir, 'passphrase')];
  try {
    writeFileSync(program, SCRIPT, { mode: 0o700 });
    writeFileSync(file, passphrase, { mode: 0o600 });
    return await use({
      ...env,
      SSH_ASKPASS: program,
      SSH_ASKPASS_REQUIRE: 'force',
      AUTOSSH_PASSPHRASE_FILE: file,
    });
  } finally {
    rmSync(file, { force: true });
    rmSync(program, { force: true });
  }
};
