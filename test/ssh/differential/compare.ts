import { isDeepStrictEqual } from 'node:util';
import { DIFFERENCES, type DifferenceId } from './differences.ts';
import type { Outcome } from './run.ts';
import type { Observation, Scenario } from './scenario.ts';

/** Seconds on an alarm clock that busy processors may add or take away. */
const secondsApart = (seconds: number, haltedMs: number): number => (seconds < 60 ? 4 : 10) + haltedMs / 1000;

/**
 * What is wrong between the original and ours in one scenario, in words; empty if nothing. The named differences must all be
 * there, and nothing else.
 */
export const compare = (scenario: Scenario, original: Outcome, ours: Outcome): string[] => {
  const problems: string[] = [];
  const ignored = (outcome: Outcome): Observation => ({
    ...outcome.observed,
    log: outcome.observed.log.filter((line) => !scenario.ignoring?.test(line)),
  });
  const [theirs, got] = [ignored(original), ignored(ours)];
  // A halt of the machine may hit either of them alone: each is at another step when it comes.
  const haltedMs = Math.max(original.haltedMs, ours.haltedMs);
  let expected = theirs;
  for (const [id, turn] of Object.entries(scenario.differs ?? {})) {
    if (DIFFERENCES[id as DifferenceId] === undefined) problems.push(`${id}: not in the table of differences`);
    const turned = turn(expected);
    if (isDeepStrictEqual(turned, expected)) problems.push(`${id}: makes no difference here (any more)`);
    expected = turned;
  }
  for (const aspect of Object.keys(expected) as Array<keyof Observation>) {
    const [want, have] = [expected[aspect], got[aspect]];
    if (!alike(want, have, haltedMs))
      problems.push(
        [
          `${aspect}: expected ${show(want)}`,
          `got ${show(have)}`,
          isDeepStrictEqual(want, theirs[aspect]) ? '' : `the original has ${show(theirs[aspect])}`,
        ].join('\n'),
      );
  }
  if (scenario.withinMs !== undefined)
    problems.push(...compareTimes(original.times, ours.times, { withinMs: scenario.withinMs, haltedMs }));
  return problems;
};

/** Busy processors make things late, seldom early. */
const LATER = 3;

const compareTimes = (
  original: readonly number[],
  ours: readonly number[],
  { withinMs, haltedMs }: { readonly withinMs: number; readonly haltedMs: number },
): string[] => {
  const [sooner, later] = [withinMs + haltedMs, LATER * withinMs + haltedMs];
  const isClose = (ms: number, index: number) => {
    const late = (ours[index] ?? Number.NaN) - ms;
    return late >= -sooner && late <= later;
  };
  return original.length === ours.length && original.every(isClose)
    ? []
    : [
        `ms from start to start, and to the end: expected ${original.join(', ')} (-${sooner} to +${later}), got ${ours.join(', ')}`,
      ];
};

/** Equal, but for a second or two left on the alarm clock. */
const alike = (want: unknown, got: unknown, haltedMs: number): boolean => {
  if (typeof want === 'string' && typeof got === 'string') return alikeText(want, got, haltedMs);
  if (Array.isArray(want) && Array.isArray(got))
    return want.length === got.length && want.every((item, index) => alike(item, got[index], haltedMs));
  return isDeepStrictEqual(want, got);
};

const ALARM = /(clear alarm timer \(|set alarm for )(\d+) secs/;

const alikeText = (want: string, got: string, haltedMs: number): boolean => {
  const [one, other] = [ALARM.exec(want), ALARM.exec(got)];
  if (one === null || other === null) return want === got;
  return (
    want.replace(ALARM, '$1') === got.replace(ALARM, '$1') &&
    Math.abs(Number(one[2]) - Number(other[2])) <= secondsApart(Number(one[2]), haltedMs)
  );
};

/** Lists a line each, the words of a command line beside each other. */
const show = (value: unknown): string =>
  Array.isArray(value) ? `[${value.map((item) => `\n  ${JSON.stringify(item)}`).join('')}]` : JSON.stringify(value);
