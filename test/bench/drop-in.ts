import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { parseArgs } from 'node:util';
import { type FarSide, makeFarSide } from '../support/far-side.ts';
import { freePort } from '../support/port.ts';
import { descendantsOf, isAlive, type Process, processOf, signal } from '../support/processes.ts';
import { type Relay, startRelay } from '../support/relay.ts';
import { type Sshd, startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';
import { type Goal, quantile, report } from './report.ts';

/**
 * Our drop-in beside the original on the same sshd, in one run, in turns: what a user pays and gets. Times are wall-clock
 * milliseconds; a machine's noise falls on all alike, so the ratios say more than the figures. Writes docs/benchmarks.md and .json.
 */
const { values } = parseArgs({
  options: { runs: { type: 'string', default: '10' }, beats: { type: 'string', default: '60' } },
});
const RUNS = Number(values.runs);
const BEATS = Number(values.beats);
/** Seconds between beats where a black hole is to be found; the shortest the original's own timeouts bear well. */
const POLL = 4;

type Contender = { name: string; command: string[]; monitored: boolean };
type Stage = { bastion: FarSide; sshd: Sshd; relay: Relay; service: Server; target: string };
type Running = { child: ChildProcess; local: number; started: number; stderr: () => string };

const ORIGINAL = '/usr/lib/autossh/autossh';
const OURS = 'dist/autossh.cjs';
const original: Contender = { name: 'autossh 1.4g -M port', command: [ORIGINAL, '-M', 'PORT'], monitored: true };
const fixed: Contender = { name: 'ours -M port', command: [OURS, '-M', 'PORT'], monitored: true };
const auto: Contender = { name: 'ours, no -M', command: [OURS], monitored: true };
const plain: Contender = { name: 'ssh alone', command: ['ssh'], monitored: false };
const contenders = [original, fixed, auto];

const main = async (): Promise<void> => {
  const stage = await setStage();
  const rows: Row[] = [];
  try {
    rows.push(...(await startToFirstByte(stage)));
    rows.push(...(await recoveryAfterKill(stage)));
    rows.push(...(await blackHole(stage)));
    rows.push(...(await costs(stage)));
  } finally {
    stage.service.close();
    await stage.relay.close();
    await stage.sshd.stop();
    await stage.bastion.remove();
  }
  write(rows);
};

/** One figure of one contender; `better` says how it stands to the original's in the same run. */
type Row = { measure: string; contender: string; unit: string; median: number; p95: number; samples: number };

const startToFirstByte = async (stage: Stage): Promise<Row[]> => {
  const times = await inTurns([plain, ...contenders], RUNS, 'start to first byte', async (contender) => {
    const running = await start(stage, contender, 60);
    await firstByte(running);
    const ms = performance.now() - running.started;
    await stop(running);
    return ms;
  });
  return rowsOf('start to first byte through the tunnel', 'ms', times);
};

const recoveryAfterKill = async (stage: Stage): Promise<Row[]> => {
  const times = await inTurns(contenders, RUNS, 'recovery after SIGKILL of ssh', async (contender) => {
    const running = await start(stage, contender, 60);
    await firstByte(running);
    const ssh = await until('ssh', () => sshOf(running));
    const struck = performance.now();
    signal(ssh, 'SIGKILL');
    await until('the old ssh to be gone', () => !isAlive(ssh));
    await firstByte(running);
    const ms = performance.now() - struck;
    await stop(running);
    return ms;
  });
  return rowsOf('recovery after SIGKILL of ssh', 'ms', times);
};

const blackHole = async (stage: Stage): Promise<Row[]> => {
  const runs = Math.max(3, Math.ceil(RUNS / 3));
  const detection = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  const recovery = await inTurns(contenders, runs, `black hole, POLL=${POLL}`, async (contender) => {
    const running = await start(stage, contender, POLL);
    await firstByte(running);
    await until('a heartbeat', () => running.stderr().includes('connection ok'), { deadlineMs: 60_000 });
    const ssh = await until('ssh', () => sshOf(running));
    const struck = performance.now();
    stage.relay.blackHole();
    await until('ssh to be ended', () => !isAlive(ssh), { deadlineMs: 120_000, state: running.stderr });
    detection.get(contender.name)?.push(performance.now() - struck);
    await firstByte(running);
    const ms = performance.now() - struck;
    await stop(running);
    return ms;
  });
  const where = `black-holed path at AUTOSSH_POLL=${POLL}, right after a beat`;
  return [...rowsOf(`${where}: noticed`, 'ms', detection), ...rowsOf(`${where}: bytes again`, 'ms', recovery)];
};

/** All three side by side at one beat a second: processor time of the supervisor alone, and its memory at the end. */
const costs = async (stage: Stage): Promise<Row[]> => {
  console.log(`cost of ${BEATS} beats at AUTOSSH_POLL=1 …`);
  const running = await Promise.all(contenders.map((contender) => start(stage, contender, 1)));
  await Promise.all(running.map(firstByte));
  const beats = (one: Running) => one.stderr().split('connection ok').length - 1;
  const cost = async (one: Running) => {
    await until('the first beat', () => beats(one) >= 1, { deadlineMs: 60_000 });
    const [firstBeats, firstCpu] = [beats(one), cpuSeconds(one)];
    await until(`${BEATS} beats`, () => beats(one) >= firstBeats + BEATS, { deadlineMs: BEATS * 5_000, everyMs: 100 });
    return { cpu: (1000 * (cpuSeconds(one) - firstCpu)) / (beats(one) - firstBeats), ...memory(one) };
  };
  const measured = await Promise.all(running.map(cost));
  await Promise.all(running.map(stop));
  return measured.flatMap(({ cpu, rss, anon }, index) => {
    const contender = contenders[index]?.name ?? '';
    const row = (measure: string, unit: string, value: number): Row => ({
      measure,
      contender,
      unit,
      median: value,
      p95: value,
      samples: 1,
    });
    return [
      row('processor time per 1,000 beats', 's', cpu),
      row('resident memory (RSS)', 'MB', rss),
      row('anonymous memory', 'MB', anon),
    ];
  });
};

const setStage = async (): Promise<Stage> => {
  // It notices a dead client by itself, within 4 s: until then the old session holds the port of -M, and the original cannot recover.
  // On another host: with -M a port is taken on both sides, so the original cannot reach a server on its own machine.
  const bastion = await makeFarSide();
  const sshd = await startSshd({
    config: ['MaxStartups 100', 'ClientAliveInterval 2', 'ClientAliveCountMax 1'],
    host: bastion.far,
    port: 22,
    wrap: bastion.enter,
  });
  const service = createServer((guest) => {
    guest.on('error', () => {});
    guest.end('x');
  });
  await new Promise<void>((resolve) => service.listen(0, bastion.near, resolve));
  const address = service.address();
  if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
  const relay = await startRelay({ host: bastion.far, port: 22 });
  return { bastion, sshd, service, relay, target: `${bastion.near}:${address.port}` };
};

const start = async (
  { sshd, relay, target }: Stage,
  { command, monitored }: Contender,
  poll: number,
): Promise<Running> => {
  const [local, monitor] = [await freePort(), await freePort()];
  const [program = '', ...flags] = command.map((word) => (word === 'PORT' ? String(monitor) : word));
  const login = sshd.sshArgs.map((arg) => (arg === String(sshd.port) ? String(relay.port) : arg));
  const args = [...flags, '-N', ...login, '-o', `HostKeyAlias=${sshd.host}`];
  const started = performance.now();
  const child = spawn(program, [...args, '-L', `${local}:${target}`, `${sshd.user}@127.0.0.1`], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      // An agent of the user's: both use it, and neither pays for starting one.
      SSH_AUTH_SOCK: '/nonexistent',
      AUTOSSH_PATH: '/usr/bin/ssh',
      AUTOSSH_GATETIME: '0',
      ...(monitored
        ? { AUTOSSH_POLL: String(poll), AUTOSSH_FIRST_POLL: String(Math.min(poll, 2)), AUTOSSH_DEBUG: '1' }
        : {}),
    },
  });
  let text = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk;
  });
  return { child, local, started, stderr: () => text };
};

const stop = async ({ child }: Running): Promise<void> => {
  const below = descendantsOf(child.pid ?? 0);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
  await until('its processes to be gone', () => below.every((one) => !isAlive(one)));
};

const firstByte = ({ local, stderr }: Running) =>
  until('a byte through the tunnel', () => readsOne(local), { everyMs: 2, deadlineMs: 60_000, state: stderr });

const readsOne = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 1_000 });
    const finish = (came: boolean) => {
      socket.destroy();
      resolve(came);
    };
    socket.on('data', () => finish(true));
    socket.on('timeout', () => finish(false));
    socket.on('end', () => finish(false));
    socket.on('error', () => finish(false));
  });

const sshOf = ({ child }: Running): Process | undefined =>
  descendantsOf(child.pid ?? 0).find(
    ({ pid, name, parent }) => parent === child.pid && name === 'ssh' && processOf(pid),
  );

const cpuSeconds = ({ child }: Running): number => {
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

const memory = ({ child }: Running): { rss: number; anon: number } => {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const megabytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
  return { rss: megabytes('VmRSS'), anon: megabytes('RssAnon') };
};

/** Round by round, each contender once, so that a slow minute of the machine hits all of them. */
const inTurns = async (
  who: readonly Contender[],
  runs: number,
  what: string,
  measure: (one: Contender) => Promise<number>,
) => {
  const times = new Map<string, number[]>(who.map(({ name }) => [name, []]));
  for (let run = 1; run <= runs; run++) {
    console.log(`${what}: round ${run} of ${runs}`);
    for (const one of who) times.get(one.name)?.push(await measure(one));
  }
  return times;
};

const rowsOf = (measure: string, unit: string, times: ReadonlyMap<string, number[]>): Row[] =>
  [...times].map(([contender, all]) => ({
    ...{ measure, contender, unit, samples: all.length },
    ...{ median: quantile(all, 0.5), p95: quantile(all, 0.95) },
  }));

const write = (rows: readonly Row[]): void => {
  const shown = (value: number, unit: string) => `${value.toFixed(unit === 's' ? 2 : unit === 'MB' ? 1 : 0)} ${unit}`;
  const ratio = ({ measure, median }: Row): string => {
    const base = rows.find((row) => row.measure === measure && row.contender === original.name);
    return base === undefined || base.median === 0 ? '' : (median / base.median).toFixed(2);
  };
  const table = rows.map((row) => {
    const { measure, contender, unit, median, p95, samples } = row;
    const spread = samples === 1 ? '' : shown(p95, unit);
    return [measure, contender, shown(median, unit), spread, ratio(row), String(samples)];
  });
  const value = (measure: string, who: Contender, which: 'median' | 'p95') =>
    rows.find((row) => row.measure.startsWith(measure) && row.contender === who.name)?.[which] ?? Number.NaN;
  const handshake = value('start to first byte', plain, 'median');
  const goals = [fixed, auto].flatMap((who) => {
    const later = value('start to first byte', who, 'median') - value('start to first byte', original, 'median');
    const over = value('recovery', who, 'p95') - handshake;
    const detection = value('black-holed', who, 'median') / value('black-holed', original, 'median');
    return [
      goal(`${who.name}: start at most 150 ms after the original`, `${later.toFixed(0)} ms`, later <= 150),
      goal(`${who.name}: recovery p95 at most 0.3 s over ssh's own start`, `${over.toFixed(0)} ms`, over <= 300),
      goal(
        `${who.name}: black hole noticed no later than by the original`,
        `ratio ${detection.toFixed(2)}`,
        detection <= 1.05,
      ),
      goal(
        `${who.name}: at most 62 MB RSS`,
        shown(value('resident', who, 'median'), 'MB'),
        value('resident', who, 'median') <= 62,
      ),
      goal(
        `${who.name}: at most 17 MB anonymous`,
        shown(value('anonymous', who, 'median'), 'MB'),
        value('anonymous', who, 'median') <= 17,
      ),
    ];
  });
  report('drop-in', {
    title: 'The drop-in beside the original',
    about:
      'The drop-in beside the original autossh 1.4g, in one run on one sshd: `npm run bench:drop-in`. Ratios are to the original in the same run; below 1 is better than it. "ssh alone" is the floor: ssh without anyone who watches it.',
    table: { head: ['measure', 'who', 'median', 'p95', 'ratio', 'samples'], rows: table },
    goals,
    rows,
  });
};

const goal = (what: string, measured: string, met: boolean): Goal => ({ goal: what, measured, met });

await main();
