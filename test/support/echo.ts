import { randomBytes } from 'node:crypto';
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type NetConnectOpts,
  type Socket,
} from 'node:net';
import { until } from './until.ts';

/** A small real service, and how often it was asked. */
export type Service = { port: number; path: string; connections(): number; stop(): Promise<void> };

/** A server that does `serve` for every connection; default: gives back what it gets. Port 0 or a unix path. */
export const startService = async (
  listen: ListenOptions = { host: '127.0.0.1', port: 0 },
  serve: (guest: Socket) => void = (guest) => guest.pipe(guest),
): Promise<Service> => {
  const open = new Set<Socket>();
  let count = 0;
  const server = createServer({ allowHalfOpen: true }, (guest) => {
    count++;
    open.add(guest);
    guest.on('close', () => open.delete(guest)).on('error', () => {});
    serve(guest);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(listen, resolve));
  const address = server.address() as AddressInfo | string;
  return {
    port: typeof address === 'string' ? 0 : address.port,
    path: typeof address === 'string' ? address : '',
    connections: () => count,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const guest of open) guest.destroy();
      }),
  };
};

/**
 * Whether bytes go to an echo service and come back, now: a new connection, a text that nobody else has. A machine that stands still for a
 * moment is no reason to say no; who asks again anyway waits for a shorter time.
 */
export const comesBack = (to: NetConnectOpts, withinMs = 30_000): Promise<boolean> =>
  new Promise((resolve) => {
    const text = randomBytes(32).toString('hex');
    const socket = connect(to);
    let came = '';
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(withinMs, () => finish(false));
    socket.on('error', () => finish(false)).on('close', () => finish(false));
    socket.on('connect', () => socket.write(text));
    socket.on('data', (bytes) => {
      came += bytes.toString('latin1');
      if (came === text) finish(true);
      else if (!text.startsWith(came)) finish(false);
    });
  });

/** Of one attempt among many. */
const ATTEMPT_MS = 3_000;

/** Waits until bytes flow. */
export const flows = async (to: NetConnectOpts, state?: () => unknown, deadlineMs = 90_000): Promise<void> => {
  await until(`bytes through ${JSON.stringify(to)}`, () => comesBack(to, ATTEMPT_MS), {
    deadlineMs,
    everyMs: 100,
    ...(state === undefined ? {} : { state }),
  });
};
