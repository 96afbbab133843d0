import type { Figures, SoakOptions } from './soak.ts';

/** Of the operator: its code and V8, and what each cached tunnel with its ConfigMap may take (about 3 KiB of JSON). */
const BASE_MIB = 160;
const PER_OBJECT_MIB = 0.015;
/** A ConfigMap and a status for each generation. */
const WRITES_PER_GENERATION = 2;
/** Writes whose answer, or whose effect on the cache, a restart of the server swallowed: some for each worker. */
const WRITES_PER_RESTART = 40;
/** Leases and watches. */
const IDLE_REQUESTS_PER_SECOND = 2;
/** A burst of what waited for the server. */
const MOST_REQUESTS_PER_SECOND = 500;

/** One of four takes longer than to the next, which is left out. */
export const leastRestarts = ({ seconds, restartSeconds }: SoakOptions): number =>
  Math.floor(seconds / restartSeconds / 2);

/** What is not as it should be, in sentences; empty when all is well. */
export const faultsIn = (figures: Figures, options: SoakOptions): string[] => {
  const { seconds, everyMs } = options;
  const { objects, changed, restarts } = figures;
  const limits: readonly [what: string, got: number, least: number, most: number][] = [
    ['objects made', objects, Math.floor((seconds * 1000) / everyMs), Number.POSITIVE_INFINITY],
    ['restarts', restarts, leastRestarts(options), Number.POSITIVE_INFINITY],
    ['missed objects', figures.missed.length, 0, 0],
    ['ConfigMaps rewritten without need', figures.rewritten.length, 0, 0],
    ['ends of the process', figures.ends.length, 0, restarts],
    ['ends for another reason than a lost lease', figures.ends.filter((msg) => msg !== 'lease lost').length, 0, 0],
    ['RSS in MiB', figures.rssMiB.most, 1, BASE_MIB + PER_OBJECT_MIB * objects],
    ['writes', figures.writes, 1, WRITES_PER_GENERATION * (objects + changed) + WRITES_PER_RESTART * (restarts + 1)],
    ['requests in a second', figures.mostRequestsPerSecond, 1, MOST_REQUESTS_PER_SECOND],
    ['requests in a second when idle', figures.idleRequestsPerSecond, 0, IDLE_REQUESTS_PER_SECOND],
  ];
  return limits.flatMap(([what, got, least, most]) =>
    got >= least && got <= most ? [] : [`${what}: expected ${least} to ${most}; got ${got}`],
  );
};
