import type { DocumentForward } from '../api/document.ts';
import type { Reason } from '../api/reasons.ts';

/** A forward that ssh could not put in place, with ssh's line about it. */
export type RefusedForward = { readonly forward: DocumentForward; readonly detail: string };

/**
 * Which of the forwards on its command line an ssh ended for, by the listeners that its last lines name. ssh tries all local ones
 * before it gives up, so that several may be named; of the remote ones only the first that was refused. Empty where it says nothing
 * that fits.
 */
export const refusedForwards = (
  reason: Reason,
  lines: readonly string[],
  onCommandLine: readonly DocumentForward[],
): readonly RefusedForward[] => {
  if (reason === 'RemoteForwardFailed') return remoteOnes(lines, onCommandLine);
  return reason === 'LocalPortBusy' ? localOnes(lines, onCommandLine) : [];
};

const REMOTE = /^Error: remote port forwarding failed for listen (?:port|path) (.+)$/;

/** ssh names only the port: of two forwards that listen there at different addresses either may be meant. */
const remoteOnes = (lines: readonly string[], among: readonly DocumentForward[]): RefusedForward[] =>
  lines.flatMap((detail) => {
    const said = REMOTE.exec(detail)?.[1];
    return among
      .filter(
        ({ kind, listen }) => kind === 'remote' && said === ('path' in listen ? listen.path : String(listen.port)),
      )
      .map((forward) => ({ forward, detail }));
  });

const BIND = /^bind(?: \[(.*)\]:\S+)?: /;
const NO_LISTENER = /^channel_setup_fwd_listener_tcpip: cannot listen to port: (\d+)/;
const NO_ADDRESS = /^channel_setup_fwd_listener_tcpip: getaddrinfo\((.+)\): /;
const NO_SOCKET = /^unix_listener: cannot bind to path (.+?): /;

/** Each bind that failed has a line, but it is the line after them that says that none worked: `*` may do with one of two. */
const localOnes = (lines: readonly string[], among: readonly DocumentForward[]): RefusedForward[] => {
  const here = among.filter(({ kind }) => kind !== 'remote');
  const refused: RefusedForward[] = [];
  let binds: string[] = [];
  for (const line of lines) {
    if (BIND.test(line)) binds.push(line);
    const port = NO_LISTENER.exec(line)?.[1];
    if (port !== undefined) {
      const detail = binds.at(-1) ?? line;
      const candidates = here.filter(({ listen }) => 'port' in listen && String(listen.port) === port);
      const addresses = binds.map((bind) => BIND.exec(bind)?.[1]);
      const exact = candidates.filter(({ listen }) => 'host' in listen && addresses.includes(listen.host));
      refused.push(...(exact.length > 0 ? exact : candidates).map((forward) => ({ forward, detail })));
      binds = [];
    }
    const host = NO_ADDRESS.exec(line)?.[1];
    const path = NO_SOCKET.exec(line)?.[1];
    refused.push(
      ...here
        .filter(({ listen }) => ('path' in listen ? listen.path === path : listen.host === host))
        .map((forward) => ({ forward, detail: line })),
    );
  }
  return refused;
};
