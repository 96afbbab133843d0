import { describe, expect } from 'vitest';
import { flows } from '../support/echo.ts';
import { residentIn, serviceIn, sshdIn } from '../support/in-test.ts';
import { WITHOUT_INOTIFY, whyNoInotifyLimit } from '../support/inotify.ts';
import { itWith } from '../support/needs.ts';
import { freePort } from '../support/port.ts';

/** What other programs of the node have used up: the sidecar's program does without. */
describe('a sidecar on a machine that is short of something', () => {
  itWith(whyNoInotifyLimit())('connects and follows its configuration without inotify', async (context) => {
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const spec = (port: number) => ({
      forwards: [{ name: 'echo', local: { listen: { port }, target: { host: '127.0.0.1', port: service.port } } }],
      heartbeat: { periodSeconds: 1, timeoutSeconds: 2 },
    });
    const [first, second] = [await freePort(), await freePort()];
    const resident = await residentIn(context, sshd, spec(first), { path: { at: () => WITHOUT_INOTIFY } });
    const { sshStarts, disconnects } = await resident.shows('a connection', ({ connected }) => connected);
    expect({ sshStarts, disconnects }).toEqual({ sshStarts: 1, disconnects: 0 });
    await flows({ host: '127.0.0.1', port: first });
    resident.configure(spec(second), { generation: 8 });
    await resident.shows('the new configuration', ({ generation, connected }) => generation === 8 && connected);
    await flows({ host: '127.0.0.1', port: second });
    expect((await resident.status()).sshStarts).toBe(1);
  });
});
