import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import { type Clock, systemClock } from './clock.ts';

export type ConnectionOptions = {
  /** Read at the start, and again when the server no longer takes what was read (401): files may have changed. */
  readonly load: () => KubeConfig;
  /** `autossh-operator/1.2.3`: what the audit log and the flow control of the server know us by. */
  readonly userAgent: string;
  readonly clock?: Clock;
};

export type HttpRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
  /** Longest time until the headers of the answer. */
  readonly headersTimeoutMs: number;
  /** Called right before each attempt; when it throws, nothing is sent and `send` rejects with that. */
  readonly beforeSend?: () => void;
};

/** The way to one API server: one pool of kept-alive connections, and the credentials of each request. */
export type Connection = {
  /** `10.0.0.1:443`: the label of metrics. */
  readonly host: string;
  /** The namespace of the kubeconfig's context, in a pod the pod's own. */
  readonly namespace: string | undefined;
  readonly send: (request: HttpRequest) => Promise<Dispatcher.ResponseData>;
  /** Cuts what is under way. From then on `send` rejects and nothing goes out. */
  readonly close: () => Promise<void>;
};

/** How long credentials are used before the files behind them are looked at again. Tokens in pods change after 80 % of an hour. */
const CREDENTIALS_FRESH_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** As client-go's dialer: a peer that is gone without a word is noticed by the kernel, even between requests. */
const TCP_KEEPALIVE_MS = 30_000;

/**
 * One way per server and set of certificates, as client-go's transport/cache.go `tlsTransportCache.get`; connections are made and
 * kept alive as by its `net.Dialer`. Credentials are looked at again every 10 s (transport/token_source.go `cachingTokenSource`: a
 * minute) and at once after 401, as plugin/pkg/client/auth/exec `roundTripper`; that the request is then sent once more is ours.
 * Throws TypeError without a current cluster; `load`'s errors pass through.
 *
 * client-node 2.0.1 makes a new agent, and so a new TLS connection, for each request; here there is one per set of certificates.
 * HTTP/1.1 on purpose: with HTTP/2 all watches would share one connection and, when it stalls, one fate.
 */
export const connect = ({ load, userAgent, clock = systemClock }: ConnectionOptions): Connection => {
  let config = load();
  let pool: { readonly tls: string; readonly dispatcher: Dispatcher } | undefined;
  let closed = false;
  let credentials: { readonly until: number; readonly headers: Promise<Record<string, string>> } | undefined;
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new TypeError('expected a kubeconfig with a current cluster');
  const base = new URL(cluster.server);
  const prefix = base.pathname.replace(/\/$/, '');

  const throwIfClosed = () => {
    if (closed) throw new Error('the connection is closed');
  };

  const authenticate = async (): Promise<Record<string, string>> => {
    const headers: Record<string, string> = {};
    const options: RequestOptions = { headers };
    await config.applyToHTTPSOptions(options);
    throwIfClosed();
    const { ca, cert, key, rejectUnauthorized, servername } = options;
    const material = { ca, cert, key, rejectUnauthorized, servername };
    const tls = JSON.stringify(Object.values(material).map((part) => part?.toString() ?? null));
    if (pool?.tls !== tls) {
      const old = pool?.dispatcher;
      pool = { tls, dispatcher: makePool(config, defined(material)) };
      // Requests under way, watches among them, end on the old connections.
      void old?.close();
    }
    if (!options.auth) return headers;
    return { ...headers, Authorization: `Basic ${Buffer.from(options.auth).toString('base64')}` };
  };

  const headersNow = (): Promise<Record<string, string>> => {
    if (credentials === undefined || credentials.until < clock.now()) {
      const headers = authenticate();
      credentials = { until: clock.now() + CREDENTIALS_FRESH_MS, headers };
      headers.catch(() => {
        credentials = undefined;
      });
    }
    return credentials.headers;
  };

  const sendOnce = async (request: HttpRequest): Promise<Dispatcher.ResponseData> => {
    throwIfClosed();
    const auth = await headersNow();
    throwIfClosed();
    if (pool === undefined) throw new Error('expected a pool of connections where there are credentials');
    request.beforeSend?.();
    return await pool.dispatcher.request({
      origin: base.origin,
      path: prefix + request.path,
      method: request.method,
      headers: { 'User-Agent': userAgent, Accept: 'application/json', ...request.headers, ...auth },
      body: request.body ?? null,
      signal: request.signal,
      headersTimeout: request.headersTimeoutMs,
      bodyTimeout: 0,
    });
  };

  return {
    host: base.host,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    send: async (request) => {
      const answer = await sendOnce(request);
      if (answer.statusCode !== 401) return answer;
      const renewed = reload(load);
      if (renewed === undefined) return answer;
      await answer.body.dump();
      config = renewed;
      credentials = undefined;
      return await sendOnce(request);
    },
    close: async () => {
      closed = true;
      const closing = pool?.dispatcher;
      pool = undefined;
      credentials = undefined;
      await closing?.destroy();
    },
  };
};

/** Undefined while the files are being replaced: the answer that was there is the better message. */
const reload = (load: () => KubeConfig): KubeConfig | undefined => {
  try {
    return load();
  } catch {
    return undefined;
  }
};

const makePool = (config: KubeConfig, tls: object): Dispatcher => {
  const options = config.createDispatcherOptions(config.getCurrentCluster(), tls);
  if (options.type === 'socks') throw new TypeError('expected an HTTP proxy in proxy-url; got a SOCKS proxy');
  const common = { allowH2: false, keepAliveTimeout: 60_000, connectTimeout: CONNECT_TIMEOUT_MS };
  const keepAlive = { keepAlive: true, keepAliveInitialDelay: TCP_KEEPALIVE_MS, timeout: CONNECT_TIMEOUT_MS };
  if (options.type === 'proxy')
    return new ProxyAgent({ ...common, uri: options.uri, requestTls: { ...tls, ...keepAlive } });
  return new Agent({ ...common, connect: { ...tls, ...keepAlive } });
};

const defined = (object: Record<string, unknown>): object =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
