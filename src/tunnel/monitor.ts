import { parseCNumber, toInt } from './c-number.ts';
import { error, info, type LogLine } from './log-line.ts';

/** How the classic interface watches the connection. */
export type Monitor =
  /** No heartbeat (`-M 0`): only ssh's own exit is noticed. */
  | { readonly method: 'None' }
  /** Out through `port` and back through the server to `port + 1` (`-M port`). */
  | { readonly method: 'Loop'; readonly port: number }
  /** Out through `port` to an echo service on the server (`-M port:echo_port`). */
  | { readonly method: 'Echo'; readonly port: number; readonly echoPort: number }
  /** Out and back through a port that the server chooses, over ssh's control socket: nothing to collide with. */
  | { readonly method: 'Auto' };

/** The monitor that was asked for and what is to be logged about it; or the one line that says what was wrong. */
export type ParsedMonitor =
  | { readonly ok: true; readonly monitor: Monitor; readonly notes: LogLine[] }
  | { readonly ok: false; readonly problem: LogLine };

const HIGHEST_PORT = 65534;

/**
 * Reads `port[:echo_port]` as given to -M or AUTOSSH_PORT; `null` (neither) and `auto` mean the collision-free heartbeat, which
 * autossh 1.4g does not have (it shows its usage). Ports are read as C ints, as 1.4g does.
 */
export const parseMonitor = (spec: string | null): ParsedMonitor => {
  if (spec === null || spec === 'auto') return { ok: true, monitor: { method: 'Auto' }, notes: [] };
  const colon = spec.indexOf(':');
  const portText = colon === -1 ? spec : spec.slice(0, colon);
  const echoText = colon === -1 ? null : spec.slice(colon + 1);

  const echoPort = echoText === null ? null : port(echoText);
  if (echoText !== null && (echoPort === null || echoPort === 0))
    return bad(`invalid echo port  "${echoText}": expected a port number from 1 to 65535 after the colon`);
  const number = port(portText);
  if (number === null) return bad(`invalid port "${portText}": expected a port number, 0 (monitoring off) or "auto"`);
  if (number === 0)
    return { ok: true, monitor: { method: 'None' }, notes: [info('port set to 0, monitoring disabled')] };
  if (number > HIGHEST_PORT || number < 0)
    return bad(`monitor port (${number}) out of range: expected 1 to ${HIGHEST_PORT}, 0 (monitoring off) or "auto"`);
  const monitor: Monitor =
    echoPort === null ? { method: 'Loop', port: number } : { method: 'Echo', port: number, echoPort };
  return { ok: true, monitor, notes: [] };
};

/** The forwards that a monitor with fixed ports adds to ssh's command line, as autossh 1.4g writes them. */
export const monitorForwards = (monitor: Monitor): string[] => {
  switch (monitor.method) {
    case 'Loop':
      return ['-L', `${monitor.port}:127.0.0.1:${monitor.port}`, '-R', `${monitor.port}:127.0.0.1:${monitor.port + 1}`];
    case 'Echo':
      return ['-L', `${monitor.port}:127.0.0.1:${monitor.echoPort}`];
    default:
      return [];
  }
};

const port = (text: string): number | null => {
  const { value, rest } = parseCNumber(text);
  return text === '' || rest !== '' ? null : toInt(value);
};

const bad = (text: string): ParsedMonitor => ({ ok: false, problem: error(text) });
