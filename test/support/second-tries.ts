import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** More tests than this that need a second try in one run are no accidents any more: the run fails. */
const ACCIDENTS = 3;

type Told = { readonly name: string; readonly problems: readonly string[] };

/**
 * Tests of real programs have a second try: a shared machine may stand still for seconds just when one of two thousand is measured. None
 * passes unseen, though: each that needed it is listed at the end with what went wrong at first, for it is a bug of the test or a race of
 * ours until somebody knows better.
 */
export default class SecondTries implements Reporter {
  onTestRunEnd(modules: readonly Pick<TestModule, 'children'>[]): void {
    const told = modules.flatMap(({ children }) => [...children.allTests()].filter(isSecond).map(tell));
    if (told.length === 0) return;
    say(`\nPassed only at the second try: ${told.length}. What went wrong at first:`);
    for (const { name, problems } of told) say(`  ${name}\n${problems.map((one) => `    ${one}`).join('\n')}`);
    if (told.length <= ACCIDENTS) return;
    say(`expected at most ${ACCIDENTS} tests that need a second try; got ${told.length}: the run counts as failed`);
    process.exitCode = 1;
  }
}

const say = (line: string) => void process.stdout.write(`${line}\n`);

type Tried = Pick<TestCase, 'fullName' | 'diagnostic' | 'result' | 'module'>;
const isSecond = (test: Tried): boolean => test.diagnostic()?.flaky ?? false;

const tell = (test: Tried): Told => ({
  name: `${test.module.relativeModuleId} > ${test.fullName}`,
  problems: (test.result().errors ?? []).flatMap((error) => linesOf(error.stack ?? error.message)),
});

/** The whole message, as far as a person reads it, and the places of our own. */
const linesOf = (stack: string): string[] => {
  const lines = stack.split('\n');
  const isPlace = (line: string) => /^\s+at /.test(line);
  const ours = (line: string) => isPlace(line) && !/\/node_modules\/vitest\/|<anonymous>/.test(line);
  return [...lines.filter((line) => !isPlace(line)).slice(0, 30), ...lines.filter(ours).slice(0, 8)];
};
