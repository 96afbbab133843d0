import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { type LogFormat, logFormat } from '../telemetry/pretty-log.ts';

/** What a command of autossh-operator takes. */
export type CommandLine<T extends ParseArgsOptionsConfig> = {
  readonly command: string;
  /** All of `--help`, the line with the synopsis first. */
  readonly usage: string;
  readonly options: T;
  /** What positional arguments are called in the usage; absent: there are none. */
  readonly positionals?: string;
};

const HELP = { help: { type: 'boolean', short: 'h' } } as const;

/**
 * Reads the arguments behind the name of the command. `--help` is answered and ends the process with 0; what is not known, or lacks its
 * value, is refused with what was expected and ends it with 2.
 */
export const readArguments = <const T extends ParseArgsOptionsConfig>({
  command,
  usage,
  options,
  positionals,
}: CommandLine<T>) => {
  try {
    const config = {
      args: process.argv.slice(3),
      options: { ...options, ...HELP },
      allowPositionals: positionals !== undefined,
    } as const;
    const parsed = parseArgs(config);
    if (!('help' in parsed.values && parsed.values.help === true)) return parsed;
    process.stdout.write(usage);
    return process.exit(0);
  } catch (error) {
    // Node's own sentence has advice on its second line that is not ours to give.
    const [problem = ''] = (error as Error).message.split(/\. |\n/);
    return refuse(command, usage, problem);
  }
};

/** Ends the process with 2 and says what is wrong and how it is used. */
export const refuse: (command: string, usage: string, problem: string) => never = (command, usage, problem) => {
  process.stderr.write(`autossh-operator ${command}: ${problem}\n\n${usage}`);
  return process.exit(2);
};

/** A whole number within bounds, or the end of the process. */
export const wholeNumber = (
  { command, usage }: Pick<CommandLine<ParseArgsOptionsConfig>, 'command' | 'usage'>,
  option: string,
  text: string,
  [min, max]: readonly [number, number],
): number =>
  /^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max
    ? Number(text)
    : refuse(command, usage, `--${option}: expected a whole number, ${min}-${max}; got ${JSON.stringify(text)}`);

/** What `--log-format` says, else what suits stderr; or the end of the process. */
export const readLogFormat = (
  { command, usage }: Pick<CommandLine<ParseArgsOptionsConfig>, 'command' | 'usage'>,
  text: string | undefined,
): LogFormat => {
  try {
    return logFormat(text, process.stderr.isTTY);
  } catch (error) {
    return refuse(command, usage, (error as Error).message);
  }
};

/** Waits until all is written before the process ends: a pipe may be slower than we are. */
export const finish = ({ out, err, code }: { out: string; err: string; code: number }): void => {
  process.exitCode = code;
  process.stderr.write(err);
  process.stdout.write(out);
};
