import { homedir } from 'node:os';
import { join } from 'node:path';
import { documentOf } from '../api/hand-over.ts';
import { RESIDENT_ENV_NAMES } from '../api/resident-env.ts';
import { residentSettings } from '../tunnel/resident-settings.ts';
import { CannotCompile, sshCommand } from '../tunnel/ssh-args.ts';
import { explainFiles, hereDocument } from './explain-files.ts';
import { explainSettings } from './explain-settings.ts';
import type { LocalTunnel } from './judge.ts';
import { type Inputs, load } from './load.ts';
import type { Given, LocalFiles } from './local-tunnel.ts';
import type { Streams } from './read-streams.ts';
import { shellQuote } from './shell-quote.ts';
import { violationText } from './violation.ts';

/**
 * Tells what a tunnel amounts to, as a text that a shell can run: the ssh command line, the configuration for jump hosts, and comments on
 * heartbeat and retries. Keys and Secrets need not be there. What to write to stdout and stderr, and the exit code.
 */
export const explain = (
  inputs: Inputs & { readonly streams: Streams },
): { readonly out: string; readonly err: string; readonly code: number } => {
  const { tunnels, violations, given } = load(inputs, inputs.streams, 'cluster');
  if (violations.length > 0)
    return { out: '', err: violations.map((one) => `${violationText(one)}\n`).join(''), code: 1 };
  try {
    return { out: tunnels.map((one) => explanation(one, given)).join('\n'), err: '', code: 0 };
  } catch (error) {
    if (!(error instanceof CannotCompile)) throw error;
    return { out: '', err: `${error.message}\n`, code: 1 };
  }
};

const explanation = (local: LocalTunnel, given: Given): string => {
  const { source, tunnel, id, files } = local;
  const document = documentOf(tunnel);
  const dir = join(homedir(), '.ssh', `autossh-${tunnel.metadata.name}`);
  const { places, lines } = explainFiles(document, local, given, dir);
  const command = sshCommand(document, places);
  const { settings, problems } = residentSettings(document, envSources(files));
  const below = [...lines, ...command.files.flatMap(({ path, content }) => hereDocument(path, content))];
  return [
    `# SshTunnel/${id} (${source.file}:${source.at('').line})`,
    ...explainSettings(document, settings).map((line) => `# ${line}`),
    ...problems.map((problem) => `# left out: ${problem}`),
    '#',
    '# The same ssh by hand (the supervisor adds a control socket, through which the heartbeat goes):',
    ...(below.length === 0 ? [] : [`mkdir -p -m 700 ${shellQuote(dir)}`]),
    ...below,
    ...commandLines(['ssh', ...command.argv]),
    '',
  ].join('\n');
};

const WITH_VALUE = ['-F', '-o', '-L', '-R', '-D', '--'];

/** An option and its value on one line, so that a person can read it. */
const commandLines = (argv: readonly string[]): string[] => {
  const lines: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = shellQuote(argv[index] ?? '');
    lines.push(WITH_VALUE.includes(word) ? `${word} ${shellQuote(argv[++index] ?? '')}` : word);
  }
  return lines.map((line, index) => `${index === 0 ? '' : '  '}${line}${index === lines.length - 1 ? '' : ' \\'}`);
};

/** AUTOSSH_* in the order of their weight: envFrom one by one, then the tunnel's own. */
const envSources = (files: LocalFiles): Record<string, string>[] =>
  [...Array.from({ length: 8 }, (_, index) => `env/${index}`), 'config'].map((dir) =>
    Object.fromEntries(
      RESIDENT_ENV_NAMES.flatMap((name) => {
        const content = files.get(`${dir}/${name}`);
        return content === undefined ? [] : [[name, Buffer.from(content).toString('utf8').replace(/\n$/, '')]];
      }),
    ),
  );
