// The door of every npm script: makes what the task needs, then runs it on the project's own Node.
// Plain JavaScript, because it must run on whatever Node a machine has (>= 18) before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runToItsEnd } from './child.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const node = join(root, 'node_modules', 'node', 'bin', 'node');
const [task = 'help', ...rest] = process.argv.slice(2);

const vitest = ['node_modules/vitest/vitest.mjs', 'run'];
/** What each task needs from Debian (a command that proves it is there, and the package that brings it), and what it runs. */
const SSH = { ssh: 'openssh-client', '/usr/sbin/sshd': 'openssh-server', setpriv: 'util-linux' };
const LIB = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
const SSH_TESTS = {
  ...SSH,
  '/usr/lib/autossh/autossh': 'autossh',
  ip: 'iproute2',
  tini: 'tini',
  iptables: 'iptables',
  logger: 'bsdutils',
  socat: 'socat',
  git: 'git',
  script: 'bsdutils',
  promtool: 'prometheus',
  'chromium-headless-shell': 'chromium-headless-shell',
  [`${LIB}/libnss_wrapper.so`]: 'libnss-wrapper',
};
/** A process's time of day that a test can set. */
const CLOCK = { [`${LIB}/faketime/libfaketime.so.1`]: 'libfaketime' };
const API = { etcd: 'etcd-server', openssl: 'openssl' };
/** What test/support/cluster/ would install when first asked; here in one go, before the tests. Without root a node is left out anyhow. */
const NODE = {
  ...API,
  ip: 'iproute2',
  iptables: 'iptables',
  containerd: 'containerd',
  runc: 'runc',
  '/usr/lib/cni/ptp': 'containernetworking-plugins',
  buildah: 'buildah',
  mmdebstrap: 'mmdebstrap',
  '/usr/share/keyrings/debian-archive-keyring.gpg': 'debian-archive-keyring',
  busybox: 'busybox-static',
};
const tasks = {
  build: { needs: {}, run: [['test/support/build.ts']] },
  check: { needs: {}, run: [[...vitest, '--project', 'unit', 'test/unit/checks.test.ts']] },
  generate: { needs: {}, run: [['test/support/generate.ts']] },
  test: { needs: { ...SSH_TESTS, ...NODE, ...CLOCK }, run: [['test/support/test.ts']] },
  demo: { needs: { ...SSH, ...NODE }, run: [['test/support/build.ts'], ['test/demo/cluster.ts']] },
  'demo:local': { needs: SSH, run: [['test/support/build.ts'], ['test/demo/local.ts']] },
  soak: {
    needs: { ...SSH_TESTS, ...API },
    run: [['test/support/build.ts'], ['test/soak/run-tunnel.ts'], ['test/soak/run.ts']],
  },
  'soak:tunnel': { needs: SSH_TESTS, run: [['test/support/build.ts'], ['test/soak/run-tunnel.ts']] },
  'soak:operator': { needs: API, run: [['test/support/build.ts'], ['test/soak/run.ts']] },
  bench: {
    needs: { ...SSH_TESTS, ...API },
    run: [
      ['test/support/build.ts'],
      ['test/bench/drop-in.ts'],
      ['test/bench/resident.ts'],
      ['test/bench/controller.ts'],
    ],
  },
  'bench:drop-in': { needs: SSH_TESTS, run: [['test/support/build.ts'], ['test/bench/drop-in.ts']] },
  'bench:resident': { needs: SSH_TESTS, run: [['test/support/build.ts'], ['test/bench/resident.ts']] },
  'bench:controller': { needs: API, run: [['test/support/build.ts'], ['test/bench/controller.ts']] },
  'test:kube-versions': { needs: API, run: [['test/support/kube-versions.ts']] },
};

const chosen = tasks[task];
if (!chosen) {
  console.error(`expected one of ${Object.keys(tasks).join(', ')}; got ${JSON.stringify(task)}`);
  process.exit(2);
}
process.chdir(root);
installNodeModules();
installDebian(chosen.needs);
for (const [index, command] of chosen.run.entries()) {
  const last = index === chosen.run.length - 1;
  await run(node, last ? [...command, ...rest] : command);
}

async function run(command, args) {
  const path = `${join(root, 'node_modules', 'node', 'bin')}:${join(root, 'node_modules', '.bin')}:${process.env.PATH}`;
  // npm's own configuration would reach the tests' child processes, which run npm themselves.
  const env = { ...process.env, PATH: path };
  const status = await runToItsEnd(command, args, env);
  if (status !== 0) process.exit(status);
}

/** Installs node_modules when the lock file is not the one they were installed from. */
function installNodeModules() {
  const stamp = join(root, 'node_modules', '.installed-from');
  const lock = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex');
  const installed = existsSync(stamp) ? readFileSync(stamp, 'utf8') : '';
  if (installed === lock && existsSync(node)) return;
  console.log('installing npm packages (about half a minute) …');
  const done = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { stdio: 'inherit' });
  if (done.status !== 0) {
    console.error(
      'npm ci failed: its own lines above say why. Expected: a reachable npm registry and a writable checkout.',
    );
    process.exit(1);
  }
  if (!existsSync(node)) {
    console.error(
      `npm ci ended, but ${node} is not there: the package "node" brings it by an install script; allow install scripts.`,
    );
    process.exit(1);
  }
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, lock);
}

/** Installs the Debian packages whose command is missing; without root or apt-get it says so and leaves the rest to the tests. */
function installDebian(needs) {
  const missing = Object.entries(needs).filter(([command]) => !onPath(command));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, name]) => name))];
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !onPath('apt-get')) {
    console.warn(
      `missing: ${missing.map(([command]) => command).join(', ')}. To install: apt-get install ${packages.join(' ')}`,
    );
    return;
  }
  console.log(`installing Debian packages (a minute or two): ${packages.join(' ')} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  let said = '';
  // A page of its own lines would hide ours; they are shown when it fails.
  const apt = (...args) => {
    const done = spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      env,
    });
    said = `${done.stdout}${done.stderr}`;
    return done;
  };
  const install = (names) => apt('install', '-y', '--no-install-recommends', ...names).status === 0;
  const allowServices = forbidServices();
  // What a distribution does not have (Ubuntu has no Chromium) is left to the tests, which say what they leave out.
  const done = (hasLists() && install(packages)) || (apt('update'), install(packages.filter(isOffered)));
  allowServices();
  if (done) return;
  console.error(`${said}\napt-get install ${packages.join(' ')} failed; its lines above say why`);
  process.exit(1);
}

/** A fresh machine knows of no package yet: asked for one, apt-get would only complain. */
function hasLists() {
  const lists = '/var/lib/apt/lists';
  return existsSync(lists) && readdirSync(lists).some((file) => file.includes('_Packages'));
}

function isOffered(name) {
  const offered = /Candidate: (?!\(none\))/.test(
    spawnSync('apt-cache', ['policy', name], { env: { ...process.env, LC_ALL: 'C' }, encoding: 'utf8' }).stdout,
  );
  if (!offered) console.warn(`apt-get does not offer ${name} here`);
  return offered;
}

/**
 * Keeps packages from starting their services (sshd on port 22, containerd, etcd), which nobody asked for here. policy-rc.d is what
 * Debian asks before it starts one; a file that is there already is the machine's own decision. Returns what undoes it.
 */
function forbidServices() {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return () => {};
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  return () => rmSync(policy, { force: true });
}

function onPath(command) {
  if (command.startsWith('/')) return existsSync(command);
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((dir) => existsSync(join(dir, command)));
}
