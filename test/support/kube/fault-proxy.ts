import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import type { Credentials } from '../cluster/index.ts';

export type Fault =
  /** Answered here; the server never hears of it. */
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** Asked of the server, and the answer passed on until it breaks. */
  | {
      readonly breaks: Breaks;
      /** So many whole lines of the body, and so many bytes of the rest, are passed on first. Absent: not even the headers. */
      readonly after?: { readonly lines?: number; readonly bytes?: number };
    }
  /** Passed on unharmed once this has come to an end; `onAnswer` is told the server's status code. */
  | { readonly before: () => Promise<unknown>; readonly onAnswer?: (status: number) => void }
  /** Asked of the server, and answered with a broken connection. `onAnswer` is called when the server has answered, before that. */
  | { readonly loseAnswer: true; readonly onAnswer?: () => void };

/**
 * How an answer ends that does not end as it should: by a reset; never, in silence; or short, as if that were all there is (a body
 * ends in order; before the headers the connection does).
 */
export type Breaks = 'cut' | 'stall' | 'truncate';

/** An HTTP proxy to an API server that authenticates as administrator and does wrong what it is told to. Speaks HTTP itself. */
export type FaultProxy = {
  readonly url: string;
  /** `METHOD path?query` of every request, in order. */
  readonly requests: string[];
  /** Asked for every request; undefined passes it on. */
  setFault(fault: ((method: string, url: string) => Fault | undefined) | undefined): void;
  /** Connections of clients. */
  readonly open: () => Promise<number>;
  /** Breaks all connections of clients. */
  readonly cut: () => void;
  readonly close: () => Promise<void>;
};

export const createFaultProxy = async (credentials: Credentials): Promise<FaultProxy> => {
  const { ca, cert, key } = credentials;
  const agent = new Agent({ keepAlive: true, ca, cert, key });
  const requests: string[] = [];
  let decide: ((method: string, url: string) => Fault | undefined) | undefined;
  const server = createServer(async (incoming, response) => {
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
    if (fault !== undefined && 'before' in fault) await fault.before();
    const upstream = request(
      new URL(url, credentials.server),
      { method, headers, agent },
      (answer: IncomingMessage) => {
        answer.on('error', () => response.destroy());
        if (fault !== undefined && 'loseAnswer' in fault) {
          answer.resume();
          fault.onAnswer?.();
          incoming.socket.resetAndDestroy();
          return;
        }
        if (fault !== undefined && 'breaks' in fault) {
          passUntilBroken(answer, response, fault);
          return;
        }
        fault?.onAnswer?.(answer.statusCode ?? 0);
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
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
    open: () => promisify(server.getConnections.bind(server))(),
    cut: () => server.closeAllConnections(),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      agent.destroy();
    },
  };
};

const passUntilBroken = (
  answer: IncomingMessage,
  response: ServerResponse,
  { breaks, after }: Extract<Fault, { breaks: Breaks }>,
): void => {
  const end = () => {
    // Read on, or the server would wait for us and not we for it.
    answer.removeAllListeners('data').resume();
    if (breaks === 'cut') response.socket?.resetAndDestroy();
    if (breaks === 'truncate' && after === undefined) response.socket?.end();
    if (breaks === 'truncate' && after !== undefined) response.end();
  };
  if (after === undefined) {
    end();
    return;
  }
  // Of no length told beforehand: the client must see for itself that it is not whole.
  const { 'content-length': _, ...headers } = answer.headers;
  response.writeHead(answer.statusCode ?? 502, headers);
  response.flushHeaders();
  let { lines = 0, bytes = 0 } = after;
  if (lines === 0 && bytes === 0) {
    end();
    return;
  }
  answer.on('data', (chunk: Buffer) => {
    let at = 0;
    while (lines > 0 && at < chunk.length) if (chunk[at++] === NEWLINE) lines--;
    const most = lines > 0 ? at : Math.min(chunk.length, at + bytes);
    bytes -= most - at;
    const isLast = lines === 0 && bytes === 0;
    response.write(chunk.subarray(0, most), () => isLast && end());
    if (isLast) answer.removeAllListeners('data').resume();
  });
};

const NEWLINE = '\n'.charCodeAt(0);
