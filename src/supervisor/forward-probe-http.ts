import { type ClientRequest, request } from 'node:http';
import type { ProbeResult } from '../tunnel/forward-state.ts';
import { endpointText } from '../tunnel/ssh-args.ts';
import type { LocalForward, Probe, ProbeOptions } from './forward-probe.ts';
import { errorText } from './system-error.ts';

/** The head of an answer is all that is read of it. */
const MOST_HEADER_BYTES = 16_384;
/** An answer may be announced (100, 103); one that is only ever announced is none. */
const MOST_ANNOUNCEMENTS = 8;

/** GET through the forward's own listener, over plain HTTP; the status decides. Nothing of the body is read, no redirect followed. */
export const probeHttp = async (
  { forward, probe, listener, refusals }: ProbeOptions,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> => {
  const started = performance.now();
  const refusal = refusals.watch();
  const where = `GET ${probe.path ?? '/'} of ${endpointText(forward.target)}`;
  const asked = request({
    ...('path' in listener ? { socketPath: listener.path } : listener),
    method: 'GET',
    path: probe.path ?? '/',
    agent: false,
    maxHeaderSize: MOST_HEADER_BYTES,
    headers: { host: probe.host ?? hostOf(forward), 'user-agent': 'autossh-operator', accept: '*/*' },
  });
  try {
    const status = await statusOf(asked, timeoutMs, signal);
    if (isExpected(status, probe)) return { ok: true, tookMs: performance.now() - started };
    return failed(`${where}: expected ${expectation(probe)}, got ${status}`);
  } catch (problem) {
    const cause = refusal();
    return cause === null
      ? failed(`${where}: ${errorText(problem)}`)
      : { ok: false, reason: 'TargetUnreachable', detail: `${where}: ${cause}` };
  } finally {
    asked.destroy();
  }
};

const statusOf = (asked: ClientRequest, timeoutMs: number, signal: AbortSignal): Promise<number> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const abort = () => reject(signal.reason);
    let announcements = 0;
    asked.on('information', () => {
      announcements++;
      if (announcements > MOST_ANNOUNCEMENTS) reject(new Error('no answer after many announcements of one'));
    });
    asked.on('response', (response) => {
      response.destroy();
      resolve(response.statusCode ?? 0);
    });
    asked.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve(response.statusCode ?? 0);
    });
    asked.on('error', reject);
    asked.on('close', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      reject(new Error('the connection was closed without an answer'));
    });
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    asked.end();
  });

const isExpected = (status: number, { expectedStatuses }: Probe): boolean =>
  expectedStatuses.length === 0 ? status >= 200 && status < 400 : expectedStatuses.includes(status);

const expectation = ({ expectedStatuses }: Probe): string =>
  expectedStatuses.length === 0 ? 'a status of 200-399' : `a status of ${expectedStatuses.join(', ')}`;

/** As a browser writes it: the port only where it is not HTTP's own. */
const hostOf = ({ target }: LocalForward): string => {
  if ('path' in target) return 'localhost';
  return target.port === 80 ? endpointText(target).replace(/:80$/, '') : endpointText(target);
};

const failed = (detail: string): ProbeResult => ({ ok: false, reason: 'ProbeFailed', detail });
