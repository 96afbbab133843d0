import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService } from '../support/echo.ts';
import { ATTACKS, attack } from '../support/hostile.ts';
import { freePort } from '../support/port.ts';
import { type Resident, startResident } from '../support/resident.ts';
import { startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/** 64 connections on each of two servers, and what the supervisor has open anyway. */
const MOST_DESCRIPTORS = 2 * 64 + 40;
/** What buffers of that many connections may take for a while. */
const MOST_GROWTH_KB = 40 * 1024;
const BEATS = 4;

/** Whoever reaches the pod can talk to the supervisor: that must cost neither a beat nor a probe, nor its memory. */
describe('hostile HTTP clients', () => {
  const open: { stop(): Promise<unknown> }[] = [];
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    open.push(one);
    return one;
  };
  let resident: Resident;
  beforeAll(async () => {
    const sshd = keep(await startSshd());
    const service = keep(await startService());
    const target = { host: '127.0.0.1', port: service.port };
    resident = keep(
      await startResident(sshd, {
        forwards: [{ name: 'echo', local: { listen: { port: await freePort() }, target } }],
        // One beat that is lost would end ssh. The timeout is more than a busy machine stands still by itself.
        heartbeat: { periodSeconds: 1, timeoutSeconds: 15, failureThreshold: 1 },
      }),
    );
    await resident.shows('a connection', ({ connected }) => connected);
  });
  afterAll(async () => {
    for (const one of open.splice(0).reverse()) await one.stop();
  });
  const descriptors = () => readdirSync(`/proc/${resident.child.pid}/fd`).length;
  const rssKb = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${resident.child.pid}/status`, 'utf8'))?.[1]);
  const beats = async () =>
    Number(/heartbeat_rtt_seconds_count\S* (\d+)/.exec((await resident.get('/metrics')).body)?.[1]);

  it.each(ATTACKS)('$name: no beat is lost, no probe unanswered, nothing piles up', async (kind) => {
    const before = await beats();
    const [idle, base] = [descriptors(), rssKb()];
    const attacked = attack(kind, [new URL(resident.url).port, new URL(resident.page).port].map(Number));
    let [most, largest, probes] = [0, 0, 0];
    try {
      await until(
        `${BEATS} more beats`,
        async () => {
          expect(await resident.get('/livez')).toMatchObject({ status: 200 });
          probes++;
          most = Math.max(most, descriptors());
          largest = Math.max(largest, rssKb());
          return (await beats()) >= before + BEATS && attacked.connections() >= kind.clients;
        },
        { everyMs: 50, deadlineMs: 150_000 },
      );
    } finally {
      await attacked.stop();
    }
    console.log(
      `${kind.name}: ${attacked.connections()} connections, ${probes} probes, ${most} descriptors, RSS +${largest - base} kB`,
    );
    expect(most).toBeLessThanOrEqual(MOST_DESCRIPTORS);
    expect(largest - base).toBeLessThan(MOST_GROWTH_KB);
    expect(await resident.status()).toMatchObject({ connected: true, disconnects: 0, sshStarts: 1 });
    expect(resident.log().filter(({ msg }) => msg === 'heartbeat failed')).toEqual([]);
    await until('its connections to be gone', () => descriptors() <= idle, { state: descriptors });
  });
});
