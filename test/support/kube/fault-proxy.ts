import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Credentials } from '../cluster/index.ts';

export type Fault =
  /** Answered here; the server never hears of it. */
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** Cut after so many bytes of the answer's body. */
  | { readonly cutAfterBytes: number }
  /** Asked of the server, and answered with a broken connection. `onAnswer` is called when the server has answered, before that. */
  | { readonly loseAnswer: true; readonly onAnswer?: () => void };

/** An HTTP proxy to an API server that authenticates as administrator and does wrong what it is told to. Speaks HTTP itself. */
export type FaultProxy = {
  readonly url: string;
  /** `METHOD path?query` of every request, in order. */
  readonly requests: string[];
  /** Asked for every request; undefined passes it on. */
  setFault(fault: ((method: string, url: string) => Fault | undefined) | undefined): void;
  /** Breaks all connections of clients. */
  readonly cut: () => void;
  readonly close: () => Promise<void>;
};

export const createFaultProxy = async (credentials: Credentials): Promise<FaultProxy> => {
  const { ca, cert, key } = credentials;
  const agent = new Agent({ keepAlive: true, ca, cert, key });
  const requests: string[] = [];
  let decide: ((method: string, url: string) => Fault | undefined) | undefined;
  const server = createServer((incoming, response) => {
    const { method = 'GET', url = '/' } = incoming;
    requests.push(`${method} ${url}`);
    const fault = decide?.(method, url);
    if (fault !== undefined && 'status' in fault) {
      incoming.resume();
      response.writeHead(fault.status, { 'Content-Type': 'application/json', ...fault.headers });
      response.end(fault.body ?? '');
      return;
    }
    const { host: _, connection: __, ...headers } = incoming.headers;
    const upstream = request(
      new URL(url, credentials.server),
      { method, headers, agent },
      (answer: IncomingMessage) => {
        if (fault !== undefined && 'loseAnswer' in fault) {
          answer.resume();
          fault.onAnswer?.();
          incoming.socket.resetAndDestroy();
          return;
        }
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        let left = fault === undefined ? Number.POSITIVE_INFINITY : fault.cutAfterBytes;
        answer.on('data', (chunk: Buffer) => {
          response.write(chunk.subarray(0, left));
          left -= chunk.length;
          // Ends the chunked body in order: the client must see for itself that an event is half.
          if (left <= 0) {
            answer.destroy();
            response.end();
          }
        });
        answer.on('end', () => response.end());
        answer.on('error', () => response.destroy());
      },
    );
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    response.on('error', () => upstream.destroy());
    incoming.pipe(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    setFault: (fault) => {
      decide = fault;
    },
    cut: () => server.closeAllConnections(),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      agent.destroy();
    },
  };
};
