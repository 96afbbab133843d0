import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { comesBack, startService } from '../support/echo.ts';
import { startNetPath } from '../support/netns.ts';
import { freePort } from '../support/port.ts';
import { type Resident, startResident } from '../support/resident.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';
import { costOf } from './process-cost.ts';
import { quantile, report } from './report.ts';

/**
 * The sidecar as it is deployed, with default settings: what it costs after half an hour of beats, how soon it beats, and what becomes
 * of it in a black hole. Writes docs/benchmarks.md and .json.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '31' },
    runs: { type: 'string', default: '20' },
    'hole-seconds': { type: 'string', default: '300' },
  },
});
const positive = (name: keyof typeof values): number => {
  const number = Number(values[name]);
  if (number > 0 && Number.isFinite(number)) return number;
  console.error(`bench: expected a number above 0 for --${name}; got ${JSON.stringify(values[name])}`);
  process.exit(2);
};
const [MINUTES, RUNS, HOLE_SECONDS] = [positive('minutes'), positive('runs'), positive('hole-seconds')];

const main = async (): Promise<void> => {
  const sshd = await startSshd();
  try {
    const idle = await startIdle(sshd);
    const beats = await firstBeats(sshd);
    const fresh = await freshBeats(sshd);
    const holes = await Promise.all(Array.from({ length: RUNS }, blackHole));
    write(beats, fresh, holes, await idle.cost());
  } finally {
    await sshd.stop();
  }
};

const forwards = async () => [
  { name: 'echo', local: { listen: { port: await freePort() }, target: { host: '127.0.0.1', port: 1 } } },
];
const connected = (resident: Resident) => resident.shows('a connection', (status) => status.connected);

type Idle = { minutes: number; rssMb: number; anonymousMb: number; cpuPercent: number; beats: number };

/** One tunnel that does nothing but beat; cost() waits until it has done so for long enough. Asked every half minute, as by Prometheus. */
const startIdle = async (sshd: Sshd): Promise<{ cost(): Promise<Idle> }> => {
  const resident = await startResident(sshd, { forwards: await forwards() });
  await connected(resident);
  const begun = performance.now();
  // Past the start and what is given back after it.
  await delay(10_000);
  const [before, from] = [costOf(resident.child.pid), performance.now()];
  let over = false;
  const scrapes = (async () => {
    while (!over) {
      await resident.get('/metrics');
      await resident.get('/livez');
      for (let slept = 0; slept < 30 && !over; slept++) await delay(1_000);
    }
  })();
  return {
    cost: async () => {
      const left = begun + MINUTES * 60_000 - performance.now();
      console.log(`idle tunnel: ${Math.max(0, Math.round(left / 1000))} s to go`);
      await delay(Math.max(0, left));
      const [after, seconds] = [costOf(resident.child.pid), (performance.now() - from) / 1000];
      over = true;
      await scrapes;
      const { body } = await resident.get('/metrics');
      const beats = Number(/^autossh_heartbeat_rtt_seconds_count\S* (\d+)/m.exec(body)?.[1]);
      await resident.stop();
      const cpuPercent = (100 * (after.cpuSeconds - before.cpuSeconds)) / seconds;
      const { rssMb, anonymousMb } = after;
      return { minutes: MINUTES, rssMb, anonymousMb, cpuPercent, beats };
    },
  };
};

type FirstBeats = { ours: number[]; bare: number[] };

/** From exec to the first heartbeat, ms; in turns with an ssh that logs in, runs `true` and ends, which is the floor of this machine now. */
const firstBeats = async (sshd: Sshd): Promise<FirstBeats> => {
  const times: FirstBeats = { ours: [], bare: [] };
  for (let run = 1; run <= RUNS; run++) {
    const begun = performance.now();
    execFileSync('ssh', [...sshd.sshArgs, sshd.destination, 'true']);
    times.bare.push(performance.now() - begun);
    const resident = await startResident(sshd, { forwards: await forwards() });
    const { connectedSince } = await connected(resident);
    times.ours.push(Date.parse(connectedSince ?? '') - resident.startedAt);
    await resident.stop();
  }
  console.log(`first heartbeat: ${times.ours.join(' ')} ms; ssh true: ${times.bare.map(Math.round).join(' ')} ms`);
  return times;
};

/** Round trips of heartbeats, each a fresh connection, ms. */
const freshBeats = async (sshd: Sshd): Promise<number[]> => {
  const spec = { forwards: await forwards(), heartbeat: { periodSeconds: 1 }, env: { AUTOSSH_LOGLEVEL: '7' } };
  const resident = await startResident(sshd, spec);
  const times = () => resident.log().flatMap(({ rttMs }) => (typeof rttMs === 'number' ? [rttMs] : []));
  await until(`${RUNS + 1} beats`, () => times().length > RUNS, { deadlineMs: RUNS * 5_000, everyMs: 200 });
  await resident.stop();
  // The first one opens the loop.
  const fresh = times().slice(1);
  console.log(`fresh beats: ${fresh.join(' ')} ms`);
  return fresh;
};

type Hole = { noticedMs: number; healedMs: number };

/** A path of its own that swallows everything for a while: how soon that is noticed, and how soon bytes flow once it is healed. */
const blackHole = async (_: unknown, run: number): Promise<Hole> => {
  const path = await startNetPath();
  const sshd = await startSshd({ host: path.serverAddress, port: 22, wrap: path.at('server') });
  const service = await startService({ path: join(sshd.dir, 'service') });
  const listen = { path: join(sshd.dir, 'here') };
  const resident = await startResident(
    sshd,
    { forwards: [{ name: 'echo', local: { listen, target: { path: service.path } } }] },
    { path },
  );
  try {
    await connected(resident);
    await until('bytes', () => comesBack(listen, 3_000), { everyMs: 100 });
    // Each at another moment between two beats.
    await delay(((run + 1) / RUNS) * 5_000);
    const cutAt = Date.now();
    path.cut();
    const lost = await until(
      'the loss to be noticed',
      () => resident.log().find(({ msg, failedBeats }) => msg === 'heartbeat failed' && failedBeats === 2),
      { deadlineMs: 120_000, everyMs: 200 },
    );
    const noticedMs = Date.parse(String(lost['time'])) - cutAt;
    await delay(Math.max(0, cutAt + HOLE_SECONDS * 1_000 - Date.now()));
    const healed = performance.now();
    path.heal();
    await firstByte(listen);
    const healedMs = performance.now() - healed;
    console.log(`black hole ${run + 1}: noticed after ${noticedMs} ms, bytes ${Math.round(healedMs)} ms after healing`);
    return { noticedMs, healedMs };
  } finally {
    await resident.stop();
    await service.stop();
    await sshd.stop();
    await path.stop();
  }
};

/** Asked again every 100 ms without waiting for the last answer: one that hangs must not hide that the next would come. */
const firstByte = (to: { path: string }): Promise<void> =>
  new Promise((resolve, reject) => {
    const end = (settle: () => void) => () => {
      clearInterval(asking);
      clearTimeout(deadline);
      settle();
    };
    const come = end(resolve);
    const asking = setInterval(() => void comesBack(to, 3_000).then((came) => came && come()), 100);
    const deadline = setTimeout(
      end(() => reject(new Error('no bytes two minutes after healing'))),
      120_000,
    );
  });

const write = (beats: FirstBeats, fresh: number[], holes: Hole[], idle: Idle): void => {
  const noticed = holes.map(({ noticedMs }) => noticedMs);
  const healed = holes.map(({ healedMs }) => healedMs);
  const ms = (value: number, digits = 0) => `${value.toFixed(digits)} ms`;
  const mb = (value: number) => `${value.toFixed(1)} MB`;
  const row = (what: string, all: number[], digits = 0) => [
    ...[what, ms(quantile(all, 0.5), digits), ms(quantile(all, 0.95), digits)],
    ...[ms(Math.max(...all), digits), String(all.length)],
  ];
  const cpu = `${idle.cpuPercent.toFixed(2)} %`;
  const single = (what: string, value: string) => [what, value, '', '', '1'];
  const after = `after ${idle.minutes} minutes and ${idle.beats} beats`;
  const goal = (what: string, measured: string, met: boolean) => ({ goal: what, measured, met });
  report('resident', {
    title: 'The sidecar',
    about: `The sidecar's program on a real sshd with default settings (a beat every 5 s): \`npm run bench:resident\`. Memory and processor time are the supervisor's own, without ssh; the goals are judged at the value named. Black holes: ${holes.length} tunnels side by side, each in network namespaces of its own where every packet is dropped for ${HOLE_SECONDS} s.`,
    table: {
      head: ['measure', 'median', 'p95', 'most', 'samples'],
      rows: [
        single(`resident memory (RSS) ${after}`, mb(idle.rssMb)),
        single(`anonymous memory ${after}`, mb(idle.anonymousMb)),
        single('processor, idle, of one core', cpu),
        row('exec to first heartbeat, loopback', beats.ours),
        row('the same, ssh alone: exec to the end of `ssh HOST true`', beats.bare),
        row('a fresh heartbeat, loopback', fresh, 1),
        row('black hole: noticed', noticed),
        row(`black hole of ${HOLE_SECONDS} s: from healing to bytes`, healed),
      ],
    },
    goals: [
      goal('at most 64 MB RSS', mb(idle.rssMb), idle.rssMb <= 64),
      goal('at most 18 MB anonymous', mb(idle.anonymousMb), idle.anonymousMb <= 18),
      goal('both after at least 30 minutes of beats', `${idle.minutes} minutes`, idle.minutes >= 30),
      goal('idle: at most 0.3 % of a core', cpu, idle.cpuPercent <= 0.3),
      goal(
        'first heartbeat at most 600 ms after exec, median',
        ms(quantile(beats.ours, 0.5)),
        quantile(beats.ours, 0.5) <= 600,
      ),
      goal('a fresh beat at most 10 ms, median', ms(quantile(fresh, 0.5), 1), quantile(fresh, 0.5) <= 10),
      goal('black hole noticed within 13 s, every time', ms(Math.max(...noticed)), Math.max(...noticed) <= 13_000),
      goal('bytes within 8 s of healing, p95', ms(quantile(healed, 0.95)), quantile(healed, 0.95) <= 8_000),
    ],
    rows: [{ idle, firstBeatsMs: beats.ours, bareSshMs: beats.bare, freshBeatsMs: fresh, holes }],
  });
};

await main();
