import { spawnSync } from 'node:child_process';

/** Why metrics cannot be judged here; null: they can. */
export const promtoolMissing =
  spawnSync('promtool', ['--version']).error === undefined ? null : 'no promtool: apt-get install prometheus';

/** What `promtool check metrics` has against an exposition: empty where it is content. */
export const metricsProblems = (exposition: string): string => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: exposition,
    encoding: 'utf8',
  });
  return status === 0 && `${stdout}${stderr}` === '' ? '' : `exit ${status}\n${stdout}${stderr}`;
};
