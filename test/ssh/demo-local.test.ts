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
    deadlineMs: 600_000,
    state: () => said,
  });
  const urls = [...said.matchAll(/^ +curl (http:\S+)/gm)].map(([, url = '']) => url);
  expect(urls, said).toHaveLength(2);
  // A tunnel on a busy machine may just be at its next ssh.
  const answer = (url: string) =>
    fetch(url).then(
      (response) => response.text(),
      () => '',
    );
  for (const url of urls) await until(`hello from ${url}`, async () => (await answer(url)).includes('hello from'));
  const all = await until('autossh, ssh and sshd', () => {
    const below = descendantsOf(demo.pid ?? 0);
    return ['autossh', 'ssh', 'sshd'].every((wanted) => below.some(({ name }) => name === wanted)) && below;
  });
  demo.kill('SIGINT');
  await until('its end', () => code !== undefined, { deadlineMs: 120_000, state: () => said });
  expect(code, said).toBe(0);
  await until('nothing to be left', () => !all.some(isAlive), { state: () => JSON.stringify(all.filter(isAlive)) });
}, 900_000);
