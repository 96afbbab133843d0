/** Options that `run`, `validate` and `explain` share, and their help. */
export const INPUT_OPTIONS = {
  filename: { type: 'string', short: 'f', multiple: true },
  identity: { type: 'string', short: 'i' },
  'known-hosts': { type: 'string' },
} as const;

export const INPUT_USAGE = `  -f, --filename FILE   SshTunnels, and the ConfigMaps and Secrets they name: YAML or JSON, several
                        documents in a file, a directory of files, or - for standard input. May be
                        given several times.
  -i, --identity PATH   private key for every login whose Secret is not among the files; a certificate
                        is taken from PATH-cert.pub
  --known-hosts PATH    known_hosts in place of ConfigMaps and Secrets that are not among the files
`;

type Values = {
  readonly filename?: readonly string[] | undefined;
  readonly identity?: string | undefined;
  readonly 'known-hosts'?: string | undefined;
};

/** The files may also be given without -f, as a shell's * does. */
export const inputsOf = (values: Values, positionals: readonly string[]) => ({
  files: [...(values.filename ?? []), ...positionals],
  identity: values.identity,
  knownHosts: values['known-hosts'],
});
