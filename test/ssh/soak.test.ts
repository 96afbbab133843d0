import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { LINKS, tunnelFaults } from '../soak/links.ts';
import { again, pour, soakTunnel } from '../soak/tunnel.ts';
import { serviceIn, sshdIn } from '../support/in-test.ts';
import { startLink, whyNoLink } from '../support/link/link.ts';
import { itWith } from '../support/needs.ts';
import { startResident } from '../support/resident.ts';
import { until } from '../support/until.ts';

const itOverLink = itWith(whyNoLink());

/** `npm run soak:tunnel` for half an hour; this is the same for a minute. */
describe.concurrent('a tunnel with default settings, saturated both ways', { timeout: 600_000 }, () => {
  for (const [name, link] of Object.entries(LINKS))
    itOverLink(`lives through it: ${name}`, async () => {
      const figures = await soakTunnel({ name, link, seconds: 60 });
      expect(tunnelFaults(figures), JSON.stringify(figures)).toEqual([]);
    });
});

describe.concurrent('a saturated link', { timeout: 600_000 }, () => {
  itOverLink('takes a remote forward that is added live, however late the answer of the server is', async (context) => {
    const link = await startLink({ bitsPerSecond: 1_000_000 });
    context.onTestFinished(() => link.stop());
    const sshd = await sshdIn(context, { host: link.far, port: 22, wrap: link.path.at('server') });
    const sink = await serviceIn(context, { path: join(sshd.dir, 'sink') }, (guest) => guest.resume());
    const [upload, hooks] = [join(sshd.dir, 'upload'), join(sshd.dir, 'hooks')];
    const always = { name: 'upload', local: { listen: { path: upload }, target: { path: sink.path } } };
    const added = { name: 'hooks', remote: { listen: { path: hooks }, target: { path: sink.path } } };
    const heartbeat = { timeoutSeconds: 1 };
    const resident = await startResident(sshd, { forwards: [always], heartbeat }, { path: link.path });
    context.onTestFinished(() => resident.stop().then(() => {}));
    await resident.shows('a connection', ({ connected }) => connected);
    context.onTestFinished(again(upload, pour));
    const told = (start: string) => resident.log().filter(({ msg }) => String(msg).startsWith(start));
    await until('a beat that is waited for', () => told('heartbeat slow')[0], { deadlineMs: 60_000, everyMs: 100 });
    resident.configure({ forwards: [always, added], heartbeat }, { generation: 8 });
    await until('the answer', () => told('forward added')[0] ?? told('forward is not in place')[0], {
      deadlineMs: 120_000,
      everyMs: 100,
    });
    expect(told('forward is not in place')).toEqual([]);
    expect(existsSync(hooks)).toBe(true);
    expect(told('forward slow')[0]).toMatchObject({ level: 'info', forward: 'hooks', waitedMs: expect.any(Number) });
    expect(await resident.status()).toMatchObject({ connected: true, forwardsUp: 2, disconnects: 0, sshStarts: 1 });
  });
});

describe.concurrent('patience with a busy connection has an end', { timeout: 600_000 }, () => {
  for (const [what, strike] of [
    ['the path is cut', 'cut'],
    ['the server stops', 'pause'],
  ] as const)
    itOverLink(`when ${what}`, async (context) => {
      const link = await startLink({ bitsPerSecond: 1_000_000 });
      context.onTestFinished(() => link.stop());
      const sshd = await sshdIn(context, { host: link.far, port: 22, wrap: link.path.at('server') });
      const sink = await serviceIn(context, { path: join(sshd.dir, 'sink') }, (guest) => guest.resume());
      const upload = join(sshd.dir, 'upload');
      const forwards = [{ name: 'upload', local: { listen: { path: upload }, target: { path: sink.path } } }];
      const resident = await startResident(sshd, { forwards }, { path: link.path });
      context.onTestFinished(() => resident.stop().then(() => {}));
      await resident.shows('a connection', ({ connected }) => connected);
      context.onTestFinished(again(upload, pour));
      const slow = () => resident.log().some(({ msg }) => String(msg).startsWith('heartbeat slow'));
      await until('a beat that is waited for', slow, { deadlineMs: 60_000, everyMs: 100 });
      expect((await resident.status()).disconnects).toBe(0);
      const struckAt = Date.now();
      if (strike === 'cut') link.path.cut();
      else sshd.pause('sessions');
      const lost = await until(
        'the end of patience',
        () => resident.log().find(({ msg, failedBeats }) => msg === 'heartbeat failed' && failedBeats === 2),
        { deadlineMs: 120_000, everyMs: 100 },
      );
      // 2 s without a byte, 250 ms, and a timeout of 3 s for each of the two beats; the rest is for slow machines, and much less than the
      // five minutes that a beat is waited for while bytes flow.
      if (strike === 'cut') expect(Date.parse(String(lost['time'])) - struckAt).toBeLessThan(60_000);
    });
});
