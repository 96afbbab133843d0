import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it, type TestContext } from 'vitest';
import { flows, type Service } from '../support/echo.ts';
import { residentIn, serviceIn, sshdIn } from '../support/in-test.ts';
import { WITHOUT_INOTIFY, whyNoInotifyLimit } from '../support/inotify.ts';
import { itWith } from '../support/needs.ts';
import { freePort } from '../support/port.ts';
import { type Resident, startResident } from '../support/resident.ts';

const through = (port: number, service: Service) => ({
  forwards: [{ name: 'echo', local: { listen: { port }, target: { host: '127.0.0.1', port: service.port } } }],
  heartbeat: { periodSeconds: 1, timeoutSeconds: 15 },
});

/** A port that somebody else has, who hangs up on everybody, until told to let go. */
const taken = async ({ onTestFinished }: TestContext) => {
  const port = await freePort();
  const server = createServer((guest) => guest.destroy()).listen(port, '127.0.0.1');
  await once(server, 'listening');
  const free = () => void server.close();
  onTestFinished(free);
  return { port, free };
};
const said = (resident: Resident, msg: string) => resident.log().filter((line) => line['msg'] === msg);

/** What other programs of the node have used up: the sidecar's program does without. */
describe('a sidecar on a machine that is short of something', () => {
  itWith(whyNoInotifyLimit())('connects and follows its configuration without inotify', async (context) => {
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const [first, second] = [await freePort(), await freePort()];
    const resident = await residentIn(context, sshd, through(first, service), { path: { at: () => WITHOUT_INOTIFY } });
    const { sshStarts, disconnects } = await resident.shows('a connection', ({ connected }) => connected);
    expect({ sshStarts, disconnects }).toEqual({ sshStarts: 1, disconnects: 0 });
    await flows({ host: '127.0.0.1', port: first });
    resident.configure(through(second, service), { generation: 8 });
    await resident.shows('the new configuration', ({ generation, connected }) => generation === 8 && connected);
    await flows({ host: '127.0.0.1', port: second });
    expect((await resident.status()).sshStarts).toBe(1);
  });

  it('lives without its port, says so once, and has it as soon as it is free', async (context) => {
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const { port: http, free } = await taken(context);
    const port = await freePort();
    // Resolves when its probes are served.
    const starting = startResident(sshd, through(port, service), { ports: { http } });
    const served = starting.then((resident) => {
      context.onTestFinished(() => resident.stop().then(() => {}));
      return resident;
    });
    await Promise.race([flows({ host: '127.0.0.1', port }), served]);
    free();
    const resident = await served;
    await resident.shows('a connection', ({ connected }) => connected);
    await resident.logged('that it is served', ({ msg }) => msg === 'probes, metrics and status');
    const [problem, ...more] = said(resident, 'probes, metrics and status are not served');
    expect(problem).toMatchObject({
      ...{ level: 'error', port: http },
      problem: expect.stringMatching(/^expected port \d+ of 127\.0\.0\.1 to be free; got EADDRINUSE: end what uses it/),
    });
    expect(more).toEqual([]);
    expect(said(resident, 'probes, metrics and status')).toHaveLength(1);
    expect(await resident.status()).toMatchObject({ sshStarts: 1, disconnects: 0 });
  });

  it('lives without the port of its page, too', async (context) => {
    const sshd = await sshdIn(context);
    const service = await serviceIn(context);
    const { port: page, free } = await taken(context);
    const resident = await residentIn(context, sshd, through(await freePort(), service), { ports: { page } });
    await resident.shows('a connection', ({ connected }) => connected);
    await resident.logged('that there is no page', ({ msg }) => msg === 'no page for a person');
    expect(said(resident, 'no page for a person')).toMatchObject([
      { level: 'warn', port: page, problem: expect.stringMatching(/^expected port .*; got EADDRINUSE: /) },
    ]);
    free();
    await resident.logged('the page', ({ msg }) => msg === 'page for a person, and full status');
    expect((await fetch(resident.page)).status).toBe(200);
  });
});
