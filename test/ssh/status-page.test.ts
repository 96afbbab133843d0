import { mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, resolve } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import type { FullStatus } from '../../src/supervisor/full-status.ts';
import { browserMissing, startBrowser } from '../support/browser.ts';
import { startService } from '../support/echo.ts';
import { itWith } from '../support/needs.ts';
import { freePort } from '../support/port.ts';
import { type Resident, startResident } from '../support/resident.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

const it = itWith(browserMissing);
/** `AUTOSSH_SCREENSHOT=1 npm test -- test/ssh/status-page.test.ts` makes the picture of the docs anew. */
const picture =
  process.env['AUTOSSH_SCREENSHOT'] === '1' ? resolve(import.meta.dirname, '../../docs/images/status-page.png') : null;
const PATIENT = 60_000;

/** The page for a person, in a real browser, of a real tunnel on a real sshd. */
describe('the status page', () => {
  let browser: Browser | undefined;
  const open: { stop(): Promise<unknown> }[] = [];
  beforeAll(async () => {
    if (browserMissing === null) browser = await startBrowser();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.stop();
  });
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    open.push(one);
    return one;
  };
  const world = async (more: object = {}): Promise<{ sshd: Sshd; resident: Resident; spec: object }> => {
    const sshd = keep(await startSshd());
    const service = keep(await startService());
    const target = { host: '127.0.0.1', port: service.port };
    const spec = {
      forwards: [
        { name: 'postgres', local: { listen: { port: await freePort() }, target } },
        { name: 'egress', dynamic: { listen: { port: await freePort() } } },
      ],
      heartbeat: { periodSeconds: 1, timeoutSeconds: 15 },
      retry: { networkMaxSeconds: 2 },
      ...more,
    };
    return { sshd, spec, resident: keep(await startResident(sshd, spec)) };
  };
  /** Opens the page and fails the test on whatever the browser complains of: a blocked script, a refused fetch, an error. */
  const look = async (resident: Resident, options: Parameters<Browser['newPage']>[0] = {}) => {
    if (browser === undefined) throw new Error('expected a browser');
    const page = await browser.newPage({ viewport: { width: 960, height: 900 }, ...options });
    keep({ stop: () => page.close() });
    page.setDefaultTimeout(PATIENT);
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => complaints.push(message.text()));
    const asked: string[] = [];
    page.on('request', (one) => asked.push(one.url()));
    await page.goto(resident.page);
    return { page, complaints, asked };
  };
  const says = (page: Page, selector: string, words: RegExp) =>
    until(
      `${words} in ${selector}`,
      async () => {
        const text = await page.locator(selector).innerText();
        return words.test(text) && text;
      },
      { deadlineMs: PATIENT, everyMs: 100, state: () => page.url() },
    );

  it('shows a tunnel that is up: since when, its heartbeats, its forwards', async () => {
    const { resident, sshd } = await world();
    await resident.shows('a connection', ({ connected }) => connected);
    const { page, complaints, asked } = await look(resident);
    await says(page, '#state', /^Connected$/);
    expect(await page.title()).toBe('orders-db: Connected');
    await says(page, '#since', /^since [\d:]+, \d+ s$/);
    await says(page, '#facts', /Heartbeat\s+Loop \(Auto\), every 1 s/);
    await says(page, '#facts', new RegExp(`Server\\s+${sshd.user}@127\\.0\\.0\\.1:${sshd.port}`));
    await says(page, '#facts', /Last round trip\s+\d[\d.]* ms, \d s ago/);
    await says(page, '#facts', /generation 7, in force/);
    await says(page, '#forwards', /up\s+postgres\s+local\s+127\.0\.0\.1:\d+\s+127\.0\.0\.1:\d+/);
    await says(page, '#forwards', /up\s+egress\s+dynamic\s+127\.0\.0\.1:\d+\s+what the client names/);
    await says(page, '#chart-words', /Last ([3-9]|\d\d+) heartbeats: median .* ms, slowest .* ms, 0 lost/);
    expect(await page.locator('#chart rect.beat').count()).toBeGreaterThan(2);
    expect(await page.locator('#no-failures').isVisible()).toBe(true);
    expect(await page.locator('#stale').isVisible()).toBe(false);
    expect(complaints).toEqual([]);
    expect([...new Set(asked)].filter((url) => !url.startsWith('data:')).sort()).toEqual([
      resident.page,
      `${resident.page}status`,
    ]);
  });

  it('shows a tunnel that is down: why, when it is tried again, and what ssh said', async () => {
    const { resident, sshd } = await world();
    await resident.shows('a connection', ({ connected }) => connected);
    const { page, complaints } = await look(resident);
    await says(page, '#state', /^Connected$/);
    await sshd.kill();
    await says(page, '#state', /^Reconnecting$/);
    await says(page, '#why', /^ConnectionRefused: .*(Next start of ssh in|ssh is at it)/);
    await says(page, '#why', /Next start of ssh in \d s/);
    await says(page, '#forwards', /down: ConnectionRefused\s+postgres/);
    await says(page, '#failures', /ConnectionRefused/);
    await says(page, '#failures pre >> nth=0', /connect to host 127\.0\.0\.1 port \d+: Connection refused/);
    await says(page, '#failures', /ConnectionRefused \d+ times since/);
    await sshd.restart();
    await says(page, '#state', /^Connected$/);
    await says(page, '#failures', /ConnectionRefused/);
    expect(complaints).toEqual([]);
  });

  it('shows heartbeats that were lost', async () => {
    const { resident } = await world({ heartbeat: { periodSeconds: 1, timeoutSeconds: 1 } });
    await resident.shows('a connection', ({ connected }) => connected);
    const { page } = await look(resident);
    await says(page, '#state', /^Connected$/);
    const ssh = await until('ssh', () => resident.ssh());
    process.kill(ssh.pid, 'SIGSTOP');
    await says(page, '#chart-words', /[2-9] lost/);
    expect(await page.locator('#chart rect.lost').count()).toBeGreaterThan(1);
    await says(page, '#failures', /HeartbeatLost/);
    await says(page, '#state', /^Connected$/);
  });

  it('shows a suspended tunnel as neither up nor failed', async () => {
    const { resident, spec } = await world();
    await resident.shows('a connection', ({ connected }) => connected);
    const { page } = await look(resident);
    await says(page, '#state', /^Connected$/);
    resident.configure({ ...spec, suspend: true });
    await says(page, '#state', /^Suspended$/);
    await says(page, '#why', /^Down on purpose/);
    expect(await page.locator('#state').getAttribute('class')).toBe('state idle');
    expect(((await (await fetch(`${resident.page}status`)).json()) as FullStatus).failures).toEqual([]);
    expect(await page.locator('#no-failures').isVisible()).toBe(true);
  });

  it('says that a configuration is missing or refused, and shows words of a server as words', async () => {
    const sshd = keep(await startSshd());
    const resident = keep(await startResident(sshd, null));
    const { page, complaints } = await look(resident);
    await says(page, '#state', /^Waiting for a configuration$/);
    await says(page, '#facts', /refused.*expected the tunnel in/);
    const evil = '<img src=x onerror=alert(1)><script>document.title="owned"</script>';
    await page.route('**/status', async (route) => {
      const answer = await route.fetch();
      const status = { ...((await answer.json()) as object), reason: evil, detail: evil, tunnel: evil, path: [evil] };
      const failures = [{ reason: evil, detail: evil, first: evil, last: evil, count: 2, lines: [evil, evil] }];
      await route.fulfill({ json: { ...status, failures } });
    });
    await says(page, '#tunnel', /onerror/);
    await says(page, '#failures pre', /onerror/);
    expect(await page.locator('img').count()).toBe(0);
    expect(await page.locator('main script').count()).toBe(0);
    expect(await page.title()).toContain('<img');
    expect(complaints).toEqual([]);
    // The page asks every second: an answer that is on its way is not to come back to a page that is closed.
    await page.unrouteAll({ behavior: 'wait' });
  });

  it('says when the supervisor does not answer any more', async () => {
    const { resident } = await world();
    const { page } = await look(resident);
    await says(page, '#state', /./);
    resident.child.kill('SIGSTOP');
    try {
      await says(page, '#stale', /does not answer/);
    } finally {
      resident.child.kill('SIGCONT');
    }
    await until('the page to be fresh', async () => !(await page.locator('#stale').isVisible()), {
      deadlineMs: PATIENT,
    });
  });

  it('fits a narrow window, in light and in dark', async () => {
    const { resident } = await world();
    await resident.shows('a connection', ({ connected }) => connected);
    const paper: string[] = [];
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page } = await look(resident, { colorScheme, viewport: { width: 320, height: 640 } });
      await says(page, '#state', /^Connected$/);
      const [inner, content, background] = await page.evaluate<[number, number, string]>(
        '[innerWidth, document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]',
      );
      expect(content).toBeLessThanOrEqual(inner);
      paper.push(background);
    }
    expect(paper[0]).toBe('rgb(255, 255, 255)');
    expect(paper[1]).not.toBe(paper[0]);
  });

  const called = (resident: Resident, host: string | undefined, path = '/status', headers = {}) =>
    new Promise<{ status: number | undefined; headers: NodeJS.Dict<string | string[]>; body: string }>((done, fail) => {
      const asked = request(`${resident.page.slice(0, -1)}${path}`, { headers: { ...headers, host } }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('end', () => done({ status: response.statusCode, headers: response.headers, body }));
      });
      asked.once('error', fail).end();
    });

  it('answers only who calls it by a name of loopback, lets no other site read it, and nothing of it is on the pod IP', async () => {
    const { resident, sshd } = await world();
    await resident.shows('a connection', ({ connected }) => connected);
    for (const host of ['localhost', 'localhost:9422', '127.0.0.1:1', '[::1]:9422', 'LocalHost:80'])
      expect(await called(resident, host), host).toMatchObject({ status: 200 });
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:9422', '10.0.0.1', '[::1'])
      for (const path of ['/', '/status'])
        expect(await called(resident, host, path), host).toMatchObject({ status: 403 });
    const { headers, body } = await called(resident, 'localhost', '/status', { origin: 'http://evil.example' });
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(headers['cross-origin-resource-policy']).toBe('same-origin');
    expect(JSON.parse(body)).toMatchObject({ path: [`${sshd.user}@127.0.0.1:${sshd.port}`] });
    expect(body).not.toMatch(/PRIVATE KEY|identity/i);
    const page = await called(resident, 'localhost', '/');
    expect(page.headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src/,
    );
    expect(page.body).not.toMatch(/https?:(?!\/\/www\.w3\.org\/2000\/svg")|innerHTML|<link rel="stylesheet"|src=/);
    const outside = await resident.get('/status');
    expect(outside.body).not.toContain(String(sshd.port));
    expect(outside.body).not.toContain('@');
    expect(await resident.get('/')).toMatchObject({ status: 404 });
  });

  if (picture !== null)
    it('is pictured for the docs', async () => {
      const { resident, sshd } = await world();
      await resident.shows('a connection', ({ connected }) => connected);
      const { page } = await look(resident, { viewport: { width: 900, height: 800 }, colorScheme: 'light' });
      process.kill((await until('ssh', () => resident.ssh())).pid, 'SIGSTOP');
      await says(page, '#failures', /HeartbeatLost/);
      await says(page, '#chart-words', /Last [2-9]\d heartbeats/);
      await sshd.kill();
      await says(page, '#failures', /ConnectionRefused [2-9] times/);
      await sshd.restart();
      await says(page, '#chart-words', /Last (4[5-9]|[5-9]\d) heartbeats/);
      // This machine's ports and user mean nothing to a reader.
      await page.route('**/status', async (route) => {
        const text = (await (await route.fetch()).text())
          .replaceAll(`${sshd.user}@127.0.0.1:${sshd.port}`, 'tunnel@bastion.example.com:22')
          .replaceAll(`host 127.0.0.1 port ${sshd.port}`, 'host bastion.example.com port 22')
          .replaceAll('Connection to 127.0.0.1', 'Connection to bastion.example.com');
        const status = JSON.parse(text);
        const [postgres, egress] = status.forwards;
        Object.assign(postgres, { listen: '127.0.0.1:5432', target: 'db.internal:5432' });
        Object.assign(egress, { listen: '127.0.0.1:1080' });
        await route.fulfill({ json: status });
      });
      await says(page, '#facts', /bastion\.example\.com/);
      mkdirSync(dirname(picture), { recursive: true });
      await page.screenshot({ path: picture, fullPage: true });
    });
});
