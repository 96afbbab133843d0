import { resolve } from 'node:path';
import { execa } from 'execa';
import { expect, it } from 'vitest';

const MODULE = resolve(import.meta.dirname, '../../src/supervisor/sigusr1.ts');

/** On a busy machine Node's thread may open the debugger long after the signal: here, after the looking for it has become rare. */
it('closes a debugger that comes late, and counts it as the signal', async () => {
  const program = `
    import inspector from 'node:inspector';
    import { setTimeout as delay } from 'node:timers/promises';
    import { onSigusr1 } from ${JSON.stringify(MODULE)};
    let received = 0;
    onSigusr1(() => received++);
    await delay(1_500);
    inspector.open(0, '127.0.0.1');
    while (inspector.url() !== undefined) await delay(20);
    process.stdout.write(String(received));
  `;
  const { stdout } = await execa(
    process.execPath,
    ['--inspect-publish-uid=http', '--input-type=module', '-e', program],
    {
      timeout: 60_000,
    },
  );
  expect(stdout).toBe('1');
});
