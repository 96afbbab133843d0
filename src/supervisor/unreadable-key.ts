import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * The first of the keys named on the command line that we may not read (EACCES), where ssh could log in with none of them; else null.
 * ssh itself warns of such a key and tries what else it has. One that is not there is only a warning to it as well, and may come yet;
 * one whose public half or certificate can be read may be in an agent (sshconnect2.c, pubkey_prepare).
 */
export const unreadableKey = (files: readonly string[]): string | null => {
  let first: string | null = null;
  for (const file of files) {
    // `%h`, `~user` and `${NAME}` are for ssh to put in.
    if (/%|^~(?!\/)|\$\{/.test(file)) return null;
    const path = file.startsWith('~/') ? join(homedir(), file.slice(2)) : file;
    const problems = [path, `${path}.pub`, `${path}-cert.pub`].map(access);
    if (problems.includes(null)) return null;
    if (problems[0] === 'EACCES') first ??= file;
  }
  return first;
};

/** The system's code for why a file cannot be read; null: it can. */
const access = (path: string): string | null => {
  try {
    accessSync(path, constants.R_OK);
    return null;
  } catch (problem) {
    return String((problem as NodeJS.ErrnoException).code);
  }
};
