import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A port of 127.0.0.1 to which connections neither succeed nor fail, as behind a firewall that drops: its backlog is full. */
export type MutePort = { readonly port: number; stop(): Promise<void> };

const SERVER = `require('net').createServer((guest) => guest.on('error', () => {})).listen(
  { host: '127.0.0.1', port: 0, backlog: 1 }, function () { process.stdout.write(this.address().port + '\\n'); });`;

/** Starts it; no connection is answered from the moment that this returns. */
export const startMutePort = async (): Promise<MutePort> => {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(String(line));
  child.kill('SIGSTOP');
  const open: Socket[] = [];
  for (let waits = false; !waits; ) {
    const socket = connect({ host: '127.0.0.1', port });
    open.push(socket.on('error', () => {}));
    let stands = false;
    socket.once('connect', () => {
      stands = true;
    });
    await Promise.race([once(socket, 'connect'), delay(1_000)]);
    // After a halt of this process its timers come first, although the connection may stand: one look at the sockets.
    await new Promise(setImmediate);
    waits = !stands;
  }
  return {
    port,
    stop: async () => {
      for (const socket of open) socket.destroy();
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
};
