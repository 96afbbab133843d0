import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { dial, queueGuests, read } from '../../src/supervisor/socket-io.ts';

/** The process does nothing, not even look at its sockets and timers, as on a machine that sleeps or is too busy. */
const halt = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const { signal } = new AbortController();

describe('waiting for a socket', () => {
  const ends: Array<() => void> = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });
  const pair = async (): Promise<[Socket, Socket]> => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const guests = queueGuests(server);
    const { port } = server.address() as { port: number };
    const out = await dial({ host: '127.0.0.1', port }, 10_000, signal);
    const back = await guests.next(10_000, signal);
    ends.push(() => {
      guests.close();
      server.close();
      out.destroy();
      back.destroy();
    });
    return [out, back];
  };

  it('sees what came while the process stood still, even if that took longer than the timeout', async () => {
    const [out, back] = await pair();
    const came = read(back, 5, 200, signal);
    out.write('hello');
    halt(400);
    expect((await came).toString()).toBe('hello');
  });

  it('gives up when nothing came', async () => {
    const [, back] = await pair();
    await expect(read(back, 5, 50, signal)).rejects.toThrow('nothing within 50 ms');
  });
});
