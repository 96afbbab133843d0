import { write } from 'node:fs';

/** Bytes on their way to one of our own file descriptors. */
export type Sink = {
  readonly write: (bytes: Uint8Array | string) => void;
  /** Resolves when all is written, at the latest after `timeoutMs`. */
  readonly flush: (timeoutMs: number) => Promise<void>;
};

/** More than this is not kept for a reader that does not read. */
const MOST_WAITING_BYTES = 1 << 20;

/**
 * Writes to a descriptor in order, without ever making the caller wait: a terminal that was stopped by Ctrl-S, or a pipe that
 * nobody reads, must not freeze the supervision of a tunnel. What does not fit into the queue is dropped, and said so when the
 * reader is back. A descriptor that is closed is written to in vain, silently.
 */
export const createSink = (fd: number, mostWaiting = MOST_WAITING_BYTES): Sink => {
  const queue: Uint8Array[] = [];
  const idle: Array<() => void> = [];
  let waiting = 0;
  let dropped = 0;
  let busy = false;

  const pump = () => {
    const next = queue[0];
    if (next === undefined) {
      busy = false;
      for (const resolve of idle.splice(0)) resolve();
      return;
    }
    busy = true;
    write(fd, next, (error, written) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(pump, 10);
        return;
      }
      const done = error ? next.length : written;
      waiting -= done;
      if (done >= next.length) queue.shift();
      else queue[0] = next.subarray(done);
      if (dropped > 0 && waiting === 0) {
        const note = Buffer.from(`autossh: ${dropped} bytes were not written here: nobody read them\n`);
        dropped = 0;
        waiting += note.length;
        queue.push(note);
      }
      pump();
    });
  };

  return {
    write: (bytes) => {
      const chunk = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
      if (chunk.length === 0) return;
      if (waiting + chunk.length > mostWaiting) {
        dropped += chunk.length;
        return;
      }
      queue.push(chunk);
      waiting += chunk.length;
      if (!busy) pump();
    },
    flush: (timeoutMs) => {
      if (!busy) return Promise.resolve();
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        idle.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    },
  };
};
