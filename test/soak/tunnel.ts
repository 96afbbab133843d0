import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { startService } from '../support/echo.ts';
import { type LinkOptions, startLink } from '../support/link/link.ts';
import { startResident } from '../support/resident.ts';
import { startSshd } from '../support/sshd.ts';
import { until } from '../support/until.ts';

/** What one tunnel went through. */
export type TunnelFigures = {
  readonly link: string;
  readonly seconds: number;
  /** ssh was started this often: 1 is what a healthy session needs. */
  readonly sshStarts: number;
  /** Sessions that ended, by reason. */
  readonly ended: Readonly<Record<string, number>>;
  readonly beats: number;
  readonly lateBeats: number;
  readonly rttMs: { readonly median: number; readonly most: number };
  /** Bytes of the bulk transfers that arrived, by way. */
  readonly bytes: { readonly down: number; readonly up: number };
  /** Seconds without one byte of bulk, the longest, by way. */
  readonly stillSeconds: { readonly down: number; readonly up: number };
};

export type TunnelSoak = {
  readonly name: string;
  readonly link: LinkOptions;
  readonly seconds: number;
};

/**
 * One tunnel with default settings on a bad link, and as much traffic through it as the link takes, both ways, for some time. The
 * link itself never fails: whatever ends the session is the supervisor's doing or ssh's own.
 */
export const soakTunnel = async ({ name, link: shape, seconds }: TunnelSoak): Promise<TunnelFigures> => {
  const ends: (() => Promise<unknown>)[] = [];
  const keep = <T extends { stop(): Promise<unknown> }>(one: T): T => {
    ends.unshift(() => one.stop());
    return one;
  };
  try {
    const { path, far } = keep(await startLink(shape));
    const sshd = keep(await startSshd({ host: far, port: 22, wrap: path.at('server') }));
    const [down, up] = [counter(), counter()];
    const source = keep(await startService({ path: join(sshd.dir, 'source') }, pour));
    const sink = keep(await startService({ path: join(sshd.dir, 'sink') }, (guest) => guest.on('data', up.add)));
    const [download, upload] = [join(sshd.dir, 'download'), join(sshd.dir, 'upload')];
    const forwards = [
      { name: 'download', local: { listen: { path: download }, target: { path: source.path } } },
      { name: 'upload', local: { listen: { path: upload }, target: { path: sink.path } } },
    ];
    const resident = keep(await startResident(sshd, { forwards, env: { AUTOSSH_LOGLEVEL: '7' } }, { path }));
    await resident.shows('a connection', ({ connected }) => connected);
    ends.unshift(
      again(download, (guest) => guest.on('data', down.add)),
      again(upload, pour),
    );
    await until('bulk both ways', () => down.bytes() > 0 && up.bytes() > 0, { deadlineMs: 120_000 });
    const begun = performance.now();
    while (performance.now() - begun < seconds * 1000)
      await until('the next second', () => performance.now() - begun >= seconds * 1000 || down.tick() || up.tick(), {
        everyMs: 200,
        deadlineMs: (seconds + 60) * 1000,
      });
    const lines = resident.log();
    const rtts = lines.flatMap(({ rttMs }) => (typeof rttMs === 'number' ? [rttMs] : [])).sort((a, b) => a - b);
    const ended: Record<string, number> = {};
    const { sshStarts } = await resident.status();
    for (const [, reason = '', count] of (await resident.get('/metrics')).body.matchAll(
      /^autossh_disconnects_total\{.*reason="(\w+)"\} ([1-9]\d*)$/gm,
    ))
      ended[reason] = Number(count);
    return {
      ...{ link: name, seconds, sshStarts, ended },
      beats: rtts.length,
      lateBeats: lines.filter(({ msg }) => msg === 'heartbeat failed').length,
      rttMs: { median: rtts[rtts.length >> 1] ?? 0, most: rtts.at(-1) ?? 0 },
      bytes: { down: down.bytes(), up: up.bytes() },
      stillSeconds: { down: down.still(), up: up.still() },
    };
  } finally {
    for (const end of ends) await end();
  }
};

const counter = () => {
  let bytes = 0;
  let last = performance.now();
  let longest = 0;
  return {
    bytes: () => bytes,
    add: (chunk: Buffer) => {
      bytes += chunk.length;
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    },
    /** Counts a stillness that still lasts. */
    tick: () => {
      longest = Math.max(longest, performance.now() - last);
      return false;
    },
    still: () => Math.round(longest / 100) / 10,
  };
};

const BLOCK = Buffer.alloc(16_384, 'autossh ');

/** Writes as much as the other side takes. */
export const pour = (socket: Socket): void => {
  const more = () => {
    while (!socket.destroyed && socket.write(BLOCK));
  };
  socket.resume().on('drain', more);
  more();
};

/** Connects whenever there is no connection, as an app does, until stopped. */
export const again = (path: string, use: (socket: Socket) => unknown): (() => Promise<void>) => {
  let socket: Socket | undefined;
  let timer: NodeJS.Timeout | undefined;
  const dial = () => {
    const next = connect(path);
    socket = next;
    next.on('error', () => {});
    next.on('connect', () => use(next));
    next.on('close', () => {
      timer = setTimeout(dial, 200);
    });
  };
  dial();
  return async () => {
    clearTimeout(timer);
    socket?.removeAllListeners('close').destroy();
  };
};
