import { type HttpServer, type Routes, serveHttp } from '../telemetry/http-server.ts';
import type { JsonLog } from '../telemetry/json-log.ts';
import { PAGE_HEADERS, statusPage } from '../telemetry/status-page.ts';
import { fullStatus } from './full-status.ts';
import { keepListening } from './keep-listening.ts';
import type { ResidentView } from './resident-http.ts';

/** `kubectl port-forward` and a browser's own tunnels end here; a page of another site that was made to resolve to us does not. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];

/**
 * The page for a person and the full status behind it. On loopback whatever the probes listen on: hosts, users and ssh's lines are for
 * whoever may enter the pod. While its port is taken there is no page, and nothing else suffers for it.
 */
export const serveResidentPage = (
  view: () => ResidentView,
  { pagePort, version }: { readonly pagePort: number; readonly version: string },
  log: JsonLog,
): HttpServer | null => {
  if (pagePort === 0) return null;
  const page = { status: 200, body: statusPage, type: 'text/html; charset=utf-8', headers: PAGE_HEADERS };
  const listen = { host: '127.0.0.1', port: pagePort, calledBy: LOOPBACK_NAMES };
  const routes: Routes = {
    '/': () => page,
    '/status': () => ({
      status: 200,
      body: `${JSON.stringify(fullStatus(view(), version, Date.now()))}\n`,
      type: 'application/json',
      headers: { 'cross-origin-resource-policy': 'same-origin' },
    }),
  };
  return keepListening(() => serveHttp(routes, listen), {
    ...listen,
    setting: '--page-port',
    onServed: () => log.line(6, 'page for a person, and full status', { url: `http://127.0.0.1:${pagePort}/` }),
    onProblem: (problem) => log.line(4, 'no page for a person', { port: pagePort, problem }),
  });
};
