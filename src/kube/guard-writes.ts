import type { Connection } from './connection.ts';

/** Nothing was sent: this process may no longer write. */
export class WriteRefused extends Error {
  override readonly name = 'WriteRefused';
}

/**
 * The same connection, which sends writes only while `mayWrite` says yes. It is asked right before each attempt, so also before one
 * that follows a wait (Retry-After) or new credentials (401); until `lost` is aborted, which takes back what still waits for a
 * connection. Client-go has no such guard: there the process ends when the lease is lost, and a retry may come before that.
 *
 * With a leader elector's `isLeader`, a process that was stopped (SIGSTOP) or starved for longer than its lease begins no write when
 * it goes on, not even before the first timer runs. Two things it cannot see. What was on its way to the socket still arrives:
 * Kubernetes has no fencing token. And the clock (CLOCK_MONOTONIC, as Go's) stands still while the machine is suspended: one that
 * slept longer than the lease believes itself the leader when it wakes up, until its next renewal, at most `renewMs` later.
 * Writers must therefore bear late writes, as level-triggered ones do: the new leader sees them and puts them right.
 */
export const guardWrites = (connection: Connection, mayWrite: () => boolean, lost?: AbortSignal): Connection => ({
  ...connection,
  send: async (request) => {
    if (request.method === 'GET') return await connection.send(request);
    const beforeSend = () => {
      request.beforeSend?.();
      if (!mayWrite()) throw new WriteRefused('expected to be the leader when writing; the lease has run out');
    };
    const signal = lost === undefined ? request.signal : AbortSignal.any([request.signal, lost]);
    return await connection.send({ ...request, signal, beforeSend });
  },
});
