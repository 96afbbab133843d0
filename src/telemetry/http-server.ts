import { createServer, type Server } from 'node:http';

/** What a path answers: a status and a text. */
export type Answer = { readonly status: number; readonly body: string; readonly type?: string };
export type Routes = Readonly<Record<string, () => Answer | Promise<Answer>>>;

/** Probes and scrapes are small and quick; whoever is not gets cut off, so that nobody can hold the supervisor's memory. */
const LONGEST_REQUEST_MS = 5_000;
const MOST_CONNECTIONS = 64;
const MOST_HEADER_BYTES = 8_192;

/**
 * Serves GET and HEAD for a fixed set of paths. Resolves once it listens; rejects with the system's error. One connection serves one
 * request: a kubelet asks every few seconds, and a kept connection would only hold memory.
 */
export const serveHttp = (routes: Routes, listen: { host?: string | undefined; port: number }): Promise<Server> => {
  const server = createServer({ maxHeaderSize: MOST_HEADER_BYTES, keepAlive: false }, (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    const reply = ({ status, body, type = 'text/plain; charset=utf-8' }: Answer) => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', connection: 'close' });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return reply({ status: 405, body: `expected GET, got ${request.method}\n` });
    if (route === undefined) return reply({ status: 404, body: `expected one of ${Object.keys(routes).join(' ')}\n` });
    Promise.resolve()
      .then(route)
      .then(reply, () => reply({ status: 500, body: 'internal error\n' }));
  });
  server.requestTimeout = LONGEST_REQUEST_MS;
  server.headersTimeout = LONGEST_REQUEST_MS;
  server.timeout = LONGEST_REQUEST_MS;
  server.maxConnections = MOST_CONNECTIONS;
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
