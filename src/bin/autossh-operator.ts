/** Each command is a file of its own beside this one, so that a sidecar does not carry the controller's code in its memory. */
const COMMANDS: Readonly<Record<string, { help: string | null; load: () => Promise<unknown> }>> = {
  run: { help: 'keep the tunnels of files up on this machine, with no cluster', load: () => import('./run.ts') },
  validate: { help: 'judge files: every violation with its line', load: () => import('./validate.ts') },
  explain: { help: 'show the ssh command line of a tunnel', load: () => import('./explain.ts') },
  'known-hosts': { help: 'make a ConfigMap of the host keys of servers', load: () => import('./known-hosts.ts') },
  controller: { help: 'serve the webhook and reconcile SshTunnels', load: () => import('./controller.ts') },
  sidecar: {
    help: 'keep the tunnel of AUTOSSH_TUNNEL up, serving probes, metrics and status',
    load: () => import('./sidecar.ts'),
  },
  // Started by `run`, not by people.
  'run-one': { help: null, load: () => import('./run-one.ts') },
};

const usage = () => {
  const list = Object.entries(COMMANDS).flatMap(([word, { help }]) =>
    help === null ? [] : [`  ${word.padEnd(13)}${help}\n`],
  );
  return `usage: autossh-operator COMMAND [OPTIONS]\n\n${list.join('')}\nautossh-operator COMMAND --help tells the rest; --version the version.\n`;
};

const name = process.argv[2] ?? '';
const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
if (command !== undefined) void command.load();
else if (['--help', '-h', 'help'].includes(name)) process.stdout.write(usage());
else if (['--version', '-V', 'version'].includes(name))
  process.stdout.write(`autossh-operator ${process.env['AUTOSSH_OPERATOR_VERSION'] ?? 'development'}\n`);
else {
  process.stderr.write(`autossh-operator: expected a command, got ${JSON.stringify(name)}\n\n${usage()}`);
  process.exitCode = 2;
}
