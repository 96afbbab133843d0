import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { askTool } from '../../src/supervisor/ask-tool.ts';

it('says in words why a tool could not be run, without its arguments', async ({ onTestFinished }) => {
  const dir = mkdtempSync(join(tmpdir(), 'ask-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const ask = () => askTool('ssh-keygen', ['-y', '-f', '/somewhere'], { PATH: dir });
  const not = 'ssh-keygen could not be run: ';
  expect(await ask()).toEqual({ ran: false, problem: `${not}No such file or directory` });
  writeFileSync(join(dir, 'ssh-keygen'), '#!/bin/sh\n');
  expect(await ask()).toEqual({ ran: false, problem: `${not}Permission denied` });
  writeFileSync(join(dir, 'ssh-keygen'), '#!/bin/sh\nkill -9 $$\n');
  chmodSync(join(dir, 'ssh-keygen'), 0o755);
  expect(await ask()).toEqual({ ran: false, problem: `${not}ended by SIGKILL` });
});
