/** Longest path of a unix socket, its end mark included: sizeof(sun_path). */
const SUN_PATH: Readonly<Partial<Record<NodeJS.Platform, number>>> = { linux: 108, darwin: 104 };
/** ssh makes its control socket under a name of its own first: PATH, a dot and 16 characters. */
const ADDED_BY_SSH = 17;
/** Made by mkdtemp, and the control socket in it. */
const BELOW = '/autossh-XXXXXX/ctl';

export type Machine = {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What os.tmpdir() says; on macOS some 50 characters long. */
  readonly tmpdir: string;
};

/** Directories under which a control socket can be made, the best first (memory before disk); and those whose path is too long for one. */
export const socketBases = ({ platform, env, tmpdir }: Machine): { usable: string[]; tooLong: string[] } => {
  const most = (SUN_PATH[platform] ?? 104) - 1 - ADDED_BY_SSH - BELOW.length;
  const memory = platform === 'linux' ? ['/dev/shm'] : [];
  const bases = [...new Set([env['XDG_RUNTIME_DIR'] ?? '', tmpdir, '/tmp', ...memory, '/var/tmp'])].filter(Boolean);
  return { usable: bases.filter((base) => base.length <= most), tooLong: bases.filter((base) => base.length > most) };
};
