import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  type AdmissionAnswer,
  type AdmissionRequest,
  answerReview,
  BadReview,
  parseReview,
} from './admission-review.ts';
import { type Clock, systemClock } from './clock.ts';
import { describe, type Log, silent } from './log.ts';
import { type Meter, unmetered } from './meter.ts';

export type AdmissionHandler = (
  request: AdmissionRequest,
  context: { readonly signal: AbortSignal; readonly log: Log },
) => AdmissionAnswer | Promise<AdmissionAnswer>;

/** PEM. The certificate may bring its chain. */
export type ServingCertificate = { readonly cert: string; readonly key: string };

export type WebhookServerOptions = {
  readonly certificate: ServingCertificate;
  /** By path: `/mutate-pods`. */
  readonly handlers: Readonly<Record<string, AdmissionHandler>>;
  /** Default 7 MiB, as controller-runtime: an object and its old self, each as large as etcd takes them, and the rest. */
  readonly maxBodyBytes?: number;
  /** For requests that bring no `timeout` of their own. Default 10,000, as the API server's. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly meter?: Meter;
};

export type WebhookServer = {
  /** Resolves with the port. Rejects with the system's error. */
  readonly listen: (address: { readonly host?: string; readonly port: number }) => Promise<number>;
  /** For connections from now on; those that are open go on. Throws when certificate and key do not fit, and keeps the old. */
  readonly setCertificate: (certificate: ServingCertificate) => void;
  /** Takes no more, answers what has come; cuts what is left after `graceMs`. */
  readonly close: (graceMs: number) => Promise<void>;
};

/** Longer than the API server keeps an idle connection (90 s): the end that sends must be the one that closes. */
const KEEP_ALIVE_MS = 120_000;
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const MOST_CONNECTIONS = 1000;

/**
 * Answers AdmissionReviews over HTTPS, as controller-runtime's pkg/webhook/server.go and pkg/webhook/admission/http.go. A handler that
 * throws or is late refuses its request and harms no other.
 */
export const createWebhookServer = (options: WebhookServerOptions): WebhookServer => {
  const { handlers, maxBodyBytes = 7 << 20, timeoutMs = 10_000 } = options;
  const { clock = systemClock, log = silent, meter = unmetered } = options;

  const judge = async (handler: AdmissionHandler, path: string, request: AdmissionRequest, ms: number) => {
    const controller = new AbortController();
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = clock.after(ms, () => {
      const error = new DOMException(`expected an answer within ${ms} ms`, 'TimeoutError');
      controller.abort(error);
      reject(error);
    });
    try {
      return await Promise.race([handler(request, { signal: controller.signal, log }), late]);
    } catch (error) {
      const { namespace, name, operation, resource } = request;
      log('error', 'admission failed', { path, operation, ...resource, namespace, name, error: describe(error) });
      return { allowed: false, code: 500, message: `${path} failed: ${describe(error)}` } satisfies AdmissionAnswer;
    } finally {
      cancel();
    }
  };

  const inFlight = new Map(Object.keys(handlers).map((webhook) => [webhook, 0]));
  const fly = (webhook: string, by: number) => {
    const now = (inFlight.get(webhook) ?? 0) + by;
    inFlight.set(webhook, now);
    meter.set('controller_runtime_webhook_requests_in_flight', { webhook }, now);
  };
  for (const webhook of inFlight.keys()) {
    fly(webhook, 0);
    for (const code of ['200', '500']) meter.count('controller_runtime_webhook_requests_total', { webhook, code }, 0);
  }
  /** From now until the response has ended, as controller-runtime's pkg/webhook/internal/metrics InstrumentedHook. */
  const instrument = (webhook: string, response: ServerResponse) => {
    const started = clock.now();
    fly(webhook, 1);
    response.once('close', () => {
      fly(webhook, -1);
      const code = String(response.statusCode);
      meter.count('controller_runtime_webhook_requests_total', { webhook, code });
      meter.observe('controller_runtime_webhook_latency_seconds', { webhook }, (clock.now() - started) / 1000);
    });
  };

  const answer = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(message.url ?? '/', 'https://webhook');
    const handler = Object.hasOwn(handlers, url.pathname) ? handlers[url.pathname] : undefined;
    if (handler === undefined) return refuse(response, 404, `nothing at ${url.pathname}`);
    instrument(url.pathname, response);
    if (message.method !== 'POST') return refuse(response, 405, 'expected POST');
    if (!message.headers['content-type']?.startsWith('application/json'))
      return refuse(response, 415, 'expected application/json');
    const body = await read(message, maxBodyBytes);
    if (body === undefined) return refuse(response, 413, `expected at most ${maxBodyBytes} bytes`);
    const request = parseReview(body);
    const verdict = await judge(handler, url.pathname, request, timeoutOf(url) ?? timeoutMs);
    const text = JSON.stringify(answerReview(request, verdict));
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
    response.end(text);
  };

  const limits = { keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS };
  const server = createServer({ ...options.certificate, ...limits }, (message, response) => {
    answer(message, response).catch((error: unknown) => {
      log('warn', 'admission request not understood', { error: describe(error) });
      if (response.headersSent) response.destroy();
      else refuse(response, error instanceof BadReview ? 400 : 500, describe(error));
    });
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.on('tlsClientError', (error) => log('debug', 'TLS handshake failed', { error: describe(error) }));

  return {
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
          server.off('error', reject);
          server.on('error', (error) => log('error', 'webhook server', { error: describe(error) }));
          resolve((server.address() as AddressInfo).port);
        });
      }),
    setCertificate: (certificate) => server.setSecureContext({ ...certificate }),
    close: (graceMs) =>
      new Promise((resolve) => {
        const cancel = clock.after(graceMs, () => server.closeAllConnections());
        server.close(() => {
          cancel();
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
};

/** Undefined when there is more than `most`; what follows is not read. */
const read = async (message: IncomingMessage, most: number): Promise<string | undefined> => {
  if (Number(message.headers['content-length'] ?? 0) > most) return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > most) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
};

const refuse = (response: ServerResponse, code: number, text: string): void => {
  // What is left of the body is not worth reading.
  response.writeHead(code, { 'Content-Type': 'text/plain', Connection: 'close' });
  response.end(`${text}\n`);
};

/** The API server says how long it waits: `?timeout=10s`. A fifth is left for the answer, or it would be told of nothing but lateness. */
const timeoutOf = (url: URL): number | undefined => {
  const seconds = /^(\d+)s$/.exec(url.searchParams.get('timeout') ?? '')?.[1];
  return seconds === undefined ? undefined : Math.max(500, Number(seconds) * 800);
};
