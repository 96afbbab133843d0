import { createServer, type Server } from 'node:http';
import { limitConnections } from './limit-connections.ts';

/** What a path answers: a status, a text, and headers beyond those that every answer has. */
export type Answer = {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
};
export type Routes = Readonly<Record<string, () => Answer | Promise<Answer>>>;

export type Listen = {
  readonly host?: string | undefined;
  readonly port: number;
  /** Names by which alone the server may be called, without port; absent: any. Keeps a web site from reading it by DNS rebinding. */
  readonly calledBy?: readonly string[];
};

/** Probes and scrapes are small and quick; whoever is not gets cut off, so that nobody can hold the supervisor's memory. */
const LONGEST_REQUEST_MS = 5_000;
/** Node looks for requests that take too long only this often. */
const LOOK_EVERY_MS = 2_500;
const MOST_HEADER_BYTES = 8_192;
const MOST_CONNECTIONS = 64;

/**
 * Serves GET and HEAD for a fixed set of paths. Resolves once it listens; rejects with the system's error. One connection serves one
 * request: a kubelet asks every few seconds, and a kept connection would only hold memory.
 */
export const serveHttp = (routes: Routes, listen: Listen): Promise<Server> => {
  const { calledBy } = listen;
  const options = { maxHeaderSize: MOST_HEADER_BYTES, keepAlive: false, connectionsCheckingInterval: LOOK_EVERY_MS };
  const server = createServer(options, (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    const reply = ({ status, body, type = 'text/plain; charset=utf-8', headers = {} }: Answer) => {
      response.writeHead(status, {
        'content-type': type,
        'content-length': Buffer.byteLength(body),
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        connection: 'close',
        ...headers,
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    const name = hostName(request.headers.host);
    if (calledBy !== undefined && !calledBy.includes(name))
      return reply({ status: 403, body: `expected the Host ${calledBy.join(', ')}; got another\n` });
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return reply({ status: 405, body: `expected GET, got ${request.method}\n`, headers: { allow: 'GET, HEAD' } });
    if (route === undefined) return reply({ status: 404, body: `expected one of ${Object.keys(routes).join(' ')}\n` });
    Promise.resolve()
      .then(route)
      .then(reply, () => reply({ status: 500, body: 'internal error\n' }));
  });
  server.requestTimeout = LONGEST_REQUEST_MS;
  server.headersTimeout = LONGEST_REQUEST_MS;
  server.timeout = LONGEST_REQUEST_MS;
  // Requests that come in one piece behind the first would all be answered into memory.
  server.maxRequestsPerSocket = 1;
  server.on('dropRequest', (_request, socket) => socket.destroy());
  limitConnections(server, MOST_CONNECTIONS);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Without a host: all addresses, also where IPv6 is switched off.
    server.listen({ port: listen.port, ...(listen.host === undefined ? {} : { host: listen.host }) }, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve(server);
    });
  });
};

/** Of a Host header, without the port. */
const hostName = (header = ''): string => header.replace(/:\d*$/, '').toLowerCase();
