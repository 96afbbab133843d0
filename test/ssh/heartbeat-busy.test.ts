import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe } from 'vitest';
import { again, pour } from '../soak/tunnel.ts';
import { serviceIn, sshdIn } from '../support/in-test.ts';
import { startLink, whyNoLink } from '../support/link/link.ts';
import { itWith } from '../support/needs.ts';
import { startResident } from '../support/resident.ts';
import { until } from '../support/until.ts';

const itOverLink = itWith(whyNoLink());

/** A beat that leads further than the server, on a link that its own traffic has saturated both ways: answers take some seconds. */
describe.concurrent('a heartbeat through a full link', { timeout: 600_000 }, () => {
  const TIMEOUT_SECONDS = 2;
  const ECHO_PORT = 7007;
  for (const [what, heartbeat, target] of [
    ['Echo', { method: 'Echo', echoPort: ECHO_PORT }, 'port'],
    ['Forward to a port', { method: 'Forward', forward: 'app' }, 'port'],
    ['Forward to a unix socket', { method: 'Forward', forward: 'app' }, 'path'],
  ] as const)
    itOverLink(`${what}: late is not lost; what is silent, and a path that is cut, are`, async (context) => {
      const { expect } = context;
      const link = await startLink({ bitsPerSecond: 2_000_000 });
      context.onTestFinished(() => link.stop());
      const { path } = link;
      const sshd = await sshdIn(context, { host: link.far, port: 22, wrap: path.at('server') });
      const at = (name: string) => join(sshd.dir, name);
      const sink = await serviceIn(context, { path: at('sink') }, (guest) => guest.resume());
      const source = await serviceIn(context, { path: at('source') }, pour);
      let silent = false;
      const answer = (guest: Socket) => (silent ? guest.resume() : guest.pipe(guest));
      const app = await serviceIn(context, { path: at('app') }, answer);
      await path.offer('server', ECHO_PORT, app.path);
      const local = (name: string, to: object) => ({ name, local: { listen: { path: at(name) }, target: to } });
      const resident = await startResident(
        sshd,
        {
          forwards: [
            local('upload', { path: sink.path }),
            local('download', { path: source.path }),
            {
              name: 'app',
              local: {
                listen: { path: at('listen') },
                target: target === 'port' ? { port: ECHO_PORT } : { path: app.path },
              },
            },
          ],
          heartbeat: { ...heartbeat, periodSeconds: 1, timeoutSeconds: TIMEOUT_SECONDS, failureThreshold: 3 },
          env: { AUTOSSH_LOGLEVEL: '7' },
        },
        { path },
      );
      context.onTestFinished(() => resident.stop().then(() => {}));
      await resident.shows('a connection', ({ connected }) => connected);
      context.onTestFinished(again(at('upload'), pour));
      context.onTestFinished(again(at('download'), (guest) => guest.resume()));
      const patience = { deadlineMs: 180_000, everyMs: 100, state: resident.said };
      const late = () => resident.log().filter(({ rttMs }) => Number(rttMs) > TIMEOUT_SECONDS * 1000);
      await until('three beats that came late', () => late().length > 2, patience);
      expect(resident.log().filter(({ msg }) => /^heartbeat (failed|refused)/.test(String(msg)))).toEqual([]);
      expect(await resident.status()).toMatchObject({ connected: true, sshStarts: 1, disconnects: 0 });
      // What the server was asked beside the beats is no news for whoever reads the log.
      expect(resident.log().filter(({ msg }) => msg === 'ssh')).toEqual([]);

      if (what === 'Echo') {
        silent = true;
        const status = () => resident.status();
        await until('the silence to be said', async () => (await status()).reason === 'TargetUnreachable', patience);
        silent = false;
        await until('an answer', async () => (await status()).connected, patience);
        expect((await status()).sshStarts).toBe(1);
      }
      path.cut();
      const ended = /^autossh_disconnects_total\{.*reason="(?:HeartbeatLost|KeepAliveTimeout)"\} [1-9]/m;
      await until('the end', async () => ended.test((await resident.get('/metrics')).body), patience);
    });
});
