/** Each command is a file of its own beside this one, so that a sidecar does not carry the controller's code in its memory. */
const COMMANDS: Readonly<Record<string, { help: string; load: () => Promise<unknown> }>> = {
  controller: { help: 'serve the webhook and reconcile SshTunnels', load: () => import('./controller.ts') },
  sidecar: {
    help: 'keep the tunnel of AUTOSSH_TUNNEL up, serving probes, metrics and status',
    load: () => import('./sidecar.ts'),
  },
};

const name = process.argv[2] ?? '';
const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
if (command === undefined) {
  const list = Object.entries(COMMANDS).map(([word, { help }]) => `  ${word.padEnd(12)}${help}\n`);
  process.stderr.write(
    `autossh-operator: expected a command, got ${JSON.stringify(name)}\nusage: autossh-operator COMMAND\n${list.join('')}`,
  );
  process.exitCode = 2;
} else {
  void command.load();
}
