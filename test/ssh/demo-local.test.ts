import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { it } from 'vitest';
import { descendantsOf, isAlive, signal } from '../support/processes.ts';
import { until } from '../support/until.ts';

const root = join(import.meta.dirname, '../..');

it('npm run demo:local -- --keep: everything stays until Ctrl-C, and then nothing', async ({
  expect,
  onTestFinished,
}) => {
  const demo = spawn(process.execPath, ['test/demo/local.ts', '--keep'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [demo.stdout, demo.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  let code: number | null | undefined;
  demo.once('close', (status) => {
    code = status;
  });
  onTestFinished(() => {
    for (const one of descendantsOf(demo.pid ?? 0)) signal(one, 'SIGKILL');
    demo.kill('SIGKILL');
  });
  await until('the end of the story', () => code !== undefined || /Ctrl-C here ends/.test(said), {
    deadlineMs: 180_000,
    state: () => said,
  });
  const urls = [...said.matchAll(/^ +curl (http:\S+)/gm)].map(([, url = '']) => url);
  expect(urls, said).toHaveLength(2);
  for (const url of urls) expect(await (await fetch(url)).text(), url).toContain('hello from');
  const all = descendantsOf(demo.pid ?? 0);
  expect(all.map(({ name }) => name)).toEqual(expect.arrayContaining(['autossh', 'ssh', 'sshd']));
  demo.kill('SIGINT');
  await until('its end', () => code !== undefined, { deadlineMs: 60_000, state: () => said });
  expect(code, said).toBe(0);
  expect(all.filter(isAlive)).toEqual([]);
});
