import { createServer } from 'node:http';
import { createServer as createListener } from 'node:net';
import { limitConnections } from './limit-connections.ts';
import { oneRequest } from './one-request.ts';

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

export type HttpServer = {
  /** Closes its port and every connection. */
  close(): void;
};

/** Probes and scrapes are small and quick; whoever is not gets cut off, so that nobody can hold the supervisor's memory. */
const LIMITS = { mostBytes: 8_192, deadlineMs: 5_000 };
const MOST_CONNECTIONS = 64;

/**
 * Serves GET and HEAD for a fixed set of paths. Resolves once it listens; rejects with the system's error. One connection serves one
 * request: a kubelet asks every few seconds, and a kept connection would only hold memory.
 */
export const serveHttp = (routes: Routes, listen: Listen): Promise<HttpServer> => {
  const { calledBy } = listen;
  // It parses and answers, and never listens itself.
  const http = createServer({ maxHeaderSize: LIMITS.mostBytes }, (request, response) => {
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
  const server = createListener({ allowHalfOpen: true }, (socket) =>
    oneRequest(socket, LIMITS, (stream) => http.emit('connection', stream)),
  );
  const connections = limitConnections(server, MOST_CONNECTIONS);
  const close = (): void => {
    server.close();
    connections.closeAll();
  };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Without a host: all addresses, also where IPv6 is switched off.
    server.listen({ port: listen.port, ...(listen.host === undefined ? {} : { host: listen.host }) }, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve({ close });
    });
  });
};

/** Of a Host header, without the port. */
const hostName = (header = ''): string => header.replace(/:\d*$/, '').toLowerCase();
