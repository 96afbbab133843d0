import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { isOwnDirectory, NotOwnError } from '../supervisor/own-directory.ts';
import { createJsonLog } from '../telemetry/json-log.ts';
import type { LogFormat } from '../telemetry/pretty-log.ts';
import { createSink } from '../telemetry/sink.ts';
import { untilTold } from './end-signal.ts';
import { readGiven } from './given.ts';
import { type Inputs, load } from './load.ts';
import { makePrivateDirectory } from './private-directory.ts';
import { readSources } from './read-sources.ts';
import type { Streams } from './read-streams.ts';
import { runTunnels } from './run-tunnels.ts';
import { violationText } from './violation.ts';
import { watchSources } from './watch-sources.ts';

export type RunOptions = Inputs & {
  readonly streams: Streams;
  /** First port to try for probes, metrics and status; each tunnel has one of its own. */
  readonly httpPort?: number | undefined;
  readonly logFormat: LogFormat;
  /** What starts the process of one tunnel; its directory and its options are put behind. */
  readonly one: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
};

const FLUSH_MS = 1_000;
/** How soon it is seen that the files of a tunnel were taken away. */
const MEND_EVERY_MS = 1_000;
/** What a shell says of a program that SIGINT ended. */
const INTERRUPTED = 130;

/**
 * Runs every tunnel of the files until told to end, each in a process of its own, and follows the files: what an edit adds starts, what
 * it changes is applied, what it takes away ends, and an edit that makes no sense is refused. Resolves with the exit code: 0 after a
 * clean end, 1 where the files were refused at the start or somebody else took the place of its private directory.
 */
export const run = async (options: RunOptions): Promise<number> => {
  const first = hashOf(options);
  const loaded = load(options, options.streams, 'run');
  if (loaded.violations.length > 0) {
    process.stderr.write(loaded.violations.map((one) => `${violationText(one)}\n`).join(''));
    return 1;
  }
  const stderr = createSink(2);
  const log = createJsonLog(stderr, { program: 'autossh-operator' }, options.logFormat);
  const stop = untilTold();
  const base = makePrivateDirectory();
  try {
    if (loaded.ignored.length > 0) log.line(6, 'not for this command', { objects: loaded.ignored.join(', ') });
    const tunnels = runTunnels(base, options, log);
    tunnels.become(loaded.tunnels);
    const taken = Promise.withResolvers<NotOwnError>();
    /** The supervisors read in our directory what they are to do: once it is somebody else's, nothing is right any more. */
    const guarded = (work: () => void) => () => {
      try {
        work();
      } catch (error) {
        if (!(error instanceof NotOwnError)) throw error;
        tunnels.kill();
        taken.resolve(error);
      }
    };
    const watch = watchSources(
      first,
      () => hashOf(options),
      guarded(() => {
        const next = load(options, options.streams, 'run');
        for (const violation of next.violations)
          log.line(3, 'the edit is refused; what runs stays', { problem: violationText(violation) });
        if (next.violations.length === 0) tunnels.become(next.tunnels);
      }),
    );
    const mending = setInterval(guarded(tunnels.mend), MEND_EVERY_MS);
    stop.again(tunnels.kill);
    const foreign = await Promise.race([stop.told.then(() => null), taken.promise]);
    clearInterval(mending);
    watch.stop();
    if (foreign !== null) log.line(3, 'the run ends', { problem: foreign.message });
    else log.line(6, 'told to end');
    await tunnels.end();
    if (foreign !== null) return 1;
  } finally {
    if (isOwnDirectory(base)) rmSync(base, { recursive: true, force: true });
    await stderr.flush(FLUSH_MS);
  }
  return stop.times() > 1 ? INTERRUPTED : 0;
};

/** All that an edit can change, keys among it, as a hash. */
const hashOf = ({ files, identity, knownHosts, streams }: RunOptions): string => {
  const { sources } = readSources(files, streams);
  const { given } = readGiven(identity, knownHosts, streams);
  const hash = createHash('sha256');
  for (const { file, text } of sources) hash.update(`${file}\0${text}\0`);
  for (const content of [given.identity?.key, given.identity?.certificate, given.knownHosts?.lines])
    hash.update(content ?? '').update('\0');
  return hash.digest('hex');
};
