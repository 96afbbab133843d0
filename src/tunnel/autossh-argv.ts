/**
 * ssh's option letters; a colon after those that take an argument (getopt(3)). OpenSSH's own list, with autossh's `-M port` in
 * place of ssh's flag `-M`. `-P` takes a tag since OpenSSH 9.4 and nothing before: as a flag, the tag is passed on all the same.
 */
const OPTIONS = 'M:V1246ab:B:c:e:fgi:kl:m:no:p:qstvw:xyACD:E:F:GI:J:KL:NO:PQ:R:S:TW:XY';

/** A command line of autossh, understood. */
export type AutosshArgv =
  | { readonly kind: 'version' }
  /** Nothing that can be run; `problem` says why where there is more to say than "too few arguments". */
  | { readonly kind: 'usage'; readonly problem?: string }
  | AutosshRun;

export type AutosshRun = {
  readonly kind: 'run';
  /** -f: run in the background. autossh does that itself; ssh never sees the flag. */
  readonly background: boolean;
  /** The last -M, as written; null where there was none. */
  readonly monitor: string | null;
  /** ssh's arguments before and after the place of the (first) -M, where the monitor's forwards go. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  /**
   * No remote shell or command was asked for (`-N`, `-o SessionType=none`): such an ssh never ends well by itself, unless it goes to the
   * background (`-o ForkAfterAuthentication=yes`).
   */
  readonly noSession: boolean;
  /** ssh was told of a control socket of the user's own (`-S`, `-o ControlPath`, `-o ControlMaster`). */
  readonly ownControlSocket: boolean;
  /** The keys it was told of (`-i`, `-o IdentityFile`), as written. */
  readonly identityFiles: readonly string[];
};

/**
 * Reads autossh's arguments (without the program's name) as getopt(3) over ssh's letters does: bundles (`-fN`), arguments stuck
 * to their letter or after it, options after the host as ssh allows them, the first `--` as autossh's own. Two things differ
 * from 1.4g on glibc, whose getopt reorders everything: the words of a remote command stay where they are, dashes and all, and
 * a -M inside a bundle (`-NM 0`) is taken out of it.
 */
export const parseAutosshArgv = (argv: readonly string[]): AutosshArgv => {
  const kept: string[] = [];
  const sessionOptions: string[] = [];
  let place: number | null = null;
  let monitor: string | null = null;
  let background = false;
  let noSession = false;
  let ownControlSocket = false;
  const identityFiles: string[] = [];
  let host = false;
  let index = 0;

  for (; index < argv.length; index++) {
    const arg = argv[index] ?? '';
    if (arg === '--') {
      index++;
      break;
    }
    // As from "$OPTIONS" in a script: 1.4g skips an empty word, and for the remote shell it is none.
    if (arg === '') continue;
    if (!arg.startsWith('-') || arg === '-') {
      if (host) break;
      host = true;
      kept.push(arg);
      continue;
    }
    let bundle = '-';
    for (let at = 1; at < arg.length; at++) {
      const letter = arg[at] ?? '';
      const known = letter === ':' ? -1 : OPTIONS.indexOf(letter);
      if (known === -1) return { kind: 'usage', problem: `invalid option -- '${letter}'` };
      if (OPTIONS[known + 1] !== ':') {
        if (letter === 'V') return { kind: 'version' };
        if (letter === 'N') noSession = true;
        if (letter === 'f') background = true;
        else bundle += letter;
        continue;
      }
      const stuck = arg.slice(at + 1);
      const value = stuck === '' ? argv[index + 1] : stuck;
      if (value === undefined) return { kind: 'usage', problem: `option requires an argument -- '${letter}'` };
      if (letter === 'M') {
        monitor = value;
        if (bundle !== '-') kept.push(bundle);
        bundle = '-';
        place ??= kept.length;
      } else {
        // The argument stays in the form in which it was given: stuck to the letter or on its own.
        bundle += stuck === '' ? letter : letter + stuck;
        kept.push(bundle);
        bundle = '-';
        if (stuck === '') kept.push(value);
        if (letter === 'o') sessionOptions.push(value);
        if (letter === 'S') ownControlSocket = true;
        if (letter === 'i') identityFiles.push(value);
      }
      if (stuck === '') index++;
      break;
    }
    if (bundle !== '-') kept.push(bundle);
  }

  const rest = argv.slice(index).filter((word) => word !== '');
  if (!host && rest.length === 0) return { kind: 'usage' };
  kept.push(...rest);
  let forks = false;
  for (const option of sessionOptions) {
    const [, keyword = '', value = ''] = /^\s*(\w+)\s*[=\s]\s*"?([^"]*)"?/.exec(option) ?? [];
    if (/^sessiontype$/i.test(keyword) && /^none$/i.test(value.trim())) noSession = true;
    if (/^control(path|master)$/i.test(keyword)) ownControlSocket = true;
    if (/^forkafterauthentication$/i.test(keyword)) forks = /^(?:yes|true)$/i.test(value.trim());
    if (/^identityfile$/i.test(keyword)) identityFiles.push(value.trim());
  }
  return {
    kind: 'run',
    background,
    monitor,
    before: kept.slice(0, place ?? 0),
    after: kept.slice(place ?? 0),
    noSession: noSession && !forks,
    ownControlSocket,
    identityFiles,
  };
};
