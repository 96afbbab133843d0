import type { TunnelDocument } from '../api/document.ts';
import type { HeartbeatMethod } from '../api/heartbeat-methods.ts';
import type { ResidentSettings } from '../tunnel/resident-settings.ts';
import { forwardText } from './forward-text.ts';

/** What the supervisor will do with a tunnel, one sentence a line. */
export const explainSettings = (document: TunnelDocument, settings: ResidentSettings): string[] => {
  const { ssh, jumpHosts, forwards, suspend, knownHosts } = document;
  const hops = jumpHosts.map(({ user, host, port }) => `${user}@${host}:${port}`);
  return [
    `server: ${ssh.user}@${ssh.host}:${ssh.port}${hops.length === 0 ? '' : `, over ${hops.join(', then ')}`}`,
    ...(suspend ? ['suspended: no ssh runs until spec.suspend is false'] : []),
    ...(knownHosts.some(({ source }) => source === 'Insecure')
      ? ['WARNING: insecureSkipVerify: the server can be anybody']
      : []),
    ...forwards.map((forward) => `forward ${forwardText(forward)}${probeText(forward)}`),
    heartbeatText(settings),
    retryText(settings),
    ...(settings.maxLifetimeMs === null
      ? []
      : [`lifetime: a connection is replaced after ${seconds(settings.maxLifetimeMs)}`]),
  ];
};

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;

const probeText = (forward: TunnelDocument['forwards'][number]): string => {
  if (forward.kind !== 'local' || forward.probe === undefined) return '';
  const { kind, path, periodSeconds, timeoutSeconds } = forward.probe;
  const what = kind === 'tcp' ? 'a connection' : `GET ${path ?? '/'}`;
  return `; probed every ${periodSeconds} s by ${what}, ${timeoutSeconds} s to answer: shown only, never ends the connection`;
};

const METHODS: Readonly<Record<HeartbeatMethod, string>> = {
  Auto: 'Auto (Loop, or Ping where the server forbids it)',
  Loop: 'Loop (out and back through the server)',
  Echo: "Echo (the server's echo service)",
  Forward: "Forward (a channel to a forward's target)",
  Ping: 'Ping (a channel that the server must refuse)',
  None: 'None',
};

const heartbeatText = ({ method, periodMs, timeoutMs, failureThreshold }: ResidentSettings): string => {
  if (method === 'None') return "heartbeat: None: only ssh's own keepalives (ServerAliveInterval)";
  // A stall right after a beat: the period, and then each beat that fails with its time to answer.
  const worst = periodMs + failureThreshold * timeoutMs;
  return `heartbeat: ${METHODS[method]}, every ${seconds(periodMs)}, ${seconds(timeoutMs)} to answer; ${failureThreshold} failed in a row end the connection, so a dead path is found within about ${seconds(worst)}`;
};

const retryText = ({ provenMs, retry }: ResidentSettings): string =>
  `retry: without end; at once after a connection that lived ${seconds(provenMs)}; else after at most ${retry.networkMaxSeconds} s (network, DNS), about ${retry.remotePortBusySeconds} s (a port that is taken), at most ${retry.authMaxSeconds} s (keys, host keys, a busy server)`;
