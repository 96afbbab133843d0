export type Machine = { platform: NodeJS.Platform; uid: number | undefined; ci: boolean };

export type Verdict = { run: true } | { run: false; fail: boolean; why: string };

/** Whether a node can be run here, and whether it is a fault if not: who asks for everything (CI) shall not get less unseen. */
export function verdict({ platform, uid, ci }: Machine): Verdict {
  const why =
    platform !== 'linux'
      ? `a node needs Linux; this is ${platform}`
      : uid !== 0
        ? `a node needs root (namespaces, mounts, cgroups); this is uid ${uid}: try again with sudo -E`
        : undefined;
  return why === undefined ? { run: true } : { run: false, fail: ci, why };
}

/** The machine this runs on. */
export const thisMachine = (): Machine => ({
  platform: process.platform,
  uid: process.getuid?.(),
  ci: !['', '0', 'false'].includes(process.env.CI ?? ''),
});
