import { describe, it } from 'vitest';
import { isNoise } from '../../src/supervisor/stderr-relay.ts';
import { behindRelay, residentIn, sshdIn } from '../support/in-test.ts';
import { freePort } from '../support/port.ts';
import { signal } from '../support/processes.ts';
import { turnsOf } from '../support/turns.ts';
import { until } from '../support/until.ts';

/** What a server forbids, in sshd_config and beside the key in authorized_keys, and the method that Auto comes to. docs/heartbeats.md. */
const SERVERS: readonly (readonly [what: string, config: readonly string[], keyOptions: string, method: string])[] = [
  ['nothing', [], '', 'Loop'],
  ['AllowTcpForwarding no', ['AllowTcpForwarding no'], '', 'Ping'],
  ['AllowTcpForwarding local', ['AllowTcpForwarding local'], '', 'Ping'],
  ['AllowTcpForwarding remote', ['AllowTcpForwarding remote'], '', 'Ping'],
  ['DisableForwarding yes', ['DisableForwarding yes'], '', 'Ping'],
  ['AllowStreamLocalForwarding no', ['AllowStreamLocalForwarding no'], '', 'Loop'],
  ['GatewayPorts yes', ['GatewayPorts yes'], '', 'Loop'],
  ['GatewayPorts clientspecified', ['GatewayPorts clientspecified'], '', 'Loop'],
  ['PermitListen none', ['PermitListen none'], '', 'Ping'],
  ['PermitListen localhost:5000', ['PermitListen localhost:5000'], '', 'Ping'],
  ['PermitListen 127.0.0.1:*', ['PermitListen 127.0.0.1:*'], '', 'Loop'],
  ['PermitOpen none', ['PermitOpen none'], '', 'Ping'],
  ['PermitOpen 10.0.0.1:5432', ['PermitOpen 10.0.0.1:5432'], '', 'Ping'],
  ['PermitOpen 127.0.0.1:*', ['PermitOpen 127.0.0.1:*'], '', 'Loop'],
  ['MaxSessions 0', ['MaxSessions 0'], '', 'Loop'],
  ['ForceCommand /bin/false', ['ForceCommand /bin/false'], '', 'Loop'],
  ['restrict', [], 'restrict', 'Ping'],
  ['restrict,port-forwarding', [], 'restrict,port-forwarding', 'Loop'],
  ['permitlisten="localhost:*"', [], 'permitlisten="localhost:*"', 'Ping'],
  ['permitopen="10.0.0.1:5432"', [], 'permitopen="10.0.0.1:5432"', 'Ping'],
  [
    'restrict,port-forwarding,permitlisten="127.0.0.1:*",permitopen="127.0.0.1:*"',
    [],
    'restrict,port-forwarding,permitlisten="127.0.0.1:*",permitopen="127.0.0.1:*"',
    'Loop',
  ],
];

describe.concurrent('heartbeat Auto, on a server with', { timeout: 600_000 }, () => {
  const turn = turnsOf(6);
  for (const [index, [what, config, keyOptions, method]] of SERVERS.entries())
    it(`${what}: ${method}, and what stops is noticed`, async (context) => {
      const { expect } = context;
      await turn(context);
      const { relay, sshd } = await behindRelay(context, await sshdIn(context, { config, keyOptions }));
      const resident = await residentIn(context, sshd, {
        forwards: [{ name: 'any', local: { listen: { port: await freePort() }, target: { port: 1 } } }],
        heartbeat: { periodSeconds: 1, timeoutSeconds: 6 },
      });
      const connected = () => resident.shows('a connection', (status) => status.connected);
      expect((await connected()).heartbeatMethod).toBe(method);
      const { body } = await resident.get('/metrics');
      expect(body).toContain(`autossh_heartbeat_method{tunnel="orders-db",method="${method}"} 1`);
      await resident.logged(
        'the log to say so',
        (line) => /^connected: bytes go round/.test(String(line['msg'])) && line['method'] === method,
      );
      // Nothing that ssh says of our own attempts is passed on, not even as an empty line.
      const ofSsh = resident.log().flatMap(({ msg, line }) => (msg === 'ssh' ? [String(line)] : []));
      expect(ofSsh.filter((line) => line.trim() === '' || isNoise(line))).toEqual([]);
      // What a heartbeat is for. The keepalives of ssh would say KeepAliveTimeout, and a frozen ssh has none.
      const { sshStarts } = await resident.status();
      if (index % 2 === 0) relay.blackHole();
      else signal(await until('ssh', () => resident.ssh()), 'SIGSTOP');
      const again = await resident.shows('another ssh', (now) => now.connected && now.sshStarts > sshStarts);
      expect(again.heartbeatMethod).toBe(method);
      expect((await resident.get('/metrics')).body).toMatch(
        /autossh_disconnects_total\{tunnel="orders-db",reason="HeartbeatLost"\} [1-9]/,
      );
    });
});
