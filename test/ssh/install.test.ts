import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autosshEnv, nothingLeft } from '../support/autossh.ts';
import { startService } from '../support/echo.ts';
import { freePort } from '../support/port.ts';
import { startSshd } from '../support/sshd.ts';

const root = resolve(import.meta.dirname, '../..');

/** What a user gets: the packed checkout in an empty prefix, in place of the original in a script that was written for that. */
describe('the installed package', () => {
  let dir: string;
  let prefix: string;

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'at-'));
    prefix = join(dir, 'prefix');
    // A copy, because packing builds: the other tests run what is in the checkout.
    const copy = join(dir, 'copy');
    mkdirSync(copy);
    const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
    execFileSync('tar', ['-C', copy, '-xf', '-'], {
      input: execFileSync('tar', ['-cf', '-', '--null', '-T', '-'], { cwd: root, input: files, maxBuffer: 1 << 28 }),
    });
    execFileSync('cp', ['-a', join(root, 'node_modules'), copy]);
    npm(copy, 'pack', '--pack-destination', dir);
    const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, string>;
    npm(dir, 'install', '--prefix', prefix, '--offline', join(dir, `${name}-${version}.tgz`));
    rmSync(copy, { recursive: true });
  }, 600_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const npm = (cwd: string, ...args: string[]) => {
    const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
    // Without what the npm that runs this test put into the environment: it would take the prefix for its own.
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^npm_/i.test(key)));
    const done = spawnSync('npm', [...args, ...quiet], { cwd, encoding: 'utf8', env });
    if (done.status !== 0) throw new Error(`npm ${args.join(' ')}\n${done.stdout}${done.stderr}`);
  };

  for (const [which, node] of machinesNodes())
    it(`serves a script written for autossh, on ${which}`, async () => {
      const [sshd, service] = await Promise.all([startSshd(), startService()]);
      const home = mkdtempSync(join(dir, 'home-'));
      const port = await freePort();
      const script = join(home, 'tunnel.sh');
      writeFileSync(script, SCRIPT);
      chmodSync(script, 0o755);
      try {
        const { code, output } = await run(script, [join(prefix, 'node_modules/.bin/autossh')], {
          ...autosshEnv(home, { AUTOSSH_DEBUG: undefined, AUTOSSH_GATETIME: undefined, AUTOSSH_NODE: node }),
          PORT: `${port}`,
          FORWARD: `${port}:127.0.0.1:${service.port}`,
          SSH_ARGS: sshd.sshArgs.join(' '),
          DESTINATION: sshd.destination,
        });
        expect(output).toContain('all went well');
        expect(code).toBe(0);
        expect(existsSync(join(home, 'autossh.pid'))).toBe(false);
        rmSync(script);
        rmSync(join(home, 'autossh.log'));
        await nothingLeft(home);
      } finally {
        await sshd.stop();
        await service.stop();
      }
    });
});

/** Not synchronously: the echo service lives in this process. */
const run = (file: string, args: string[], env: NodeJS.ProcessEnv) =>
  new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    let output = '';
    const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text: Buffer) => {
        output += text;
      });
    child.on('error', reject).on('close', (code) => resolve({ code, output }));
  });

/** As people wrote them for 1.4g: the pid file is how it is found, signalled and ended. */
const SCRIPT = `#!/bin/bash
set -eu
autossh=$1
cd "$TMPDIR"
export AUTOSSH_PIDFILE=$TMPDIR/autossh.pid AUTOSSH_LOGFILE=$TMPDIR/autossh.log AUTOSSH_GATETIME=0
fail() { echo "$1"; cat "$AUTOSSH_LOGFILE"; exit 1; }
eventually() { for _ in $(seq 600); do if "$@" 2>/dev/null; then return 0; fi; sleep 0.1; done; fail "never: $*"; }
echoes() { exec 3<>"/dev/tcp/127.0.0.1/$PORT"; echo hello >&3; read -r -t 3 line <&3; exec 3>&-; [ "$line" = hello ]; }
works() { (echoes); }
restarted() { [ "$(grep -c 'starting ssh' "$AUTOSSH_LOGFILE")" -ge 2 ]; }
ended() { ! kill -0 "$pid"; }

[[ $("$autossh" -V) == "autossh 1.4g"* ]] || fail version
"$autossh" -M 0 -f -N -L "$FORWARD" $SSH_ARGS "$DESTINATION"
pid=$(cat "$AUTOSSH_PIDFILE")
eventually works
kill -USR1 "$(cat "$AUTOSSH_PIDFILE")"
eventually restarted
eventually works
kill "$(cat "$AUTOSSH_PIDFILE")"
eventually ended
[ ! -e "$AUTOSSH_PIDFILE" ] || fail "the pid file is still there"
grep -q 'received signal to exit (15)' "$AUTOSSH_LOGFILE" || fail log
echo all went well
`;

/** The project's own Node, and the machine's where there is another (20 or newer is enough for the drop-in). */
function machinesNodes(): Array<[string, string]> {
  const found = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((dir) => !dir.includes('node_modules'))
    .map((dir) => join(dir, 'node'))
    .find(existsSync);
  const version = found === undefined ? '' : spawnSync(found, ['--version'], { encoding: 'utf8' }).stdout.trim();
  const own: [string, string] = [`the project's Node ${process.version}`, process.execPath];
  if (found === undefined || Number(/^v(\d+)/.exec(version)?.[1] ?? 0) < 20) {
    console.warn(`only ${own[0]} is tried: the machine has ${version || 'none'} of its own`);
    return [own];
  }
  return [own, [`the machine's Node ${version}`, found]];
}
