import { describe, expect, it } from 'vitest';

export type Machine = { platform: NodeJS.Platform; uid: number | undefined; ci: boolean };

export type Verdict = { run: true } | { run: false; fail: boolean; why: string };

/** Whether a node can be run here, and whether it is a fault if not: who asks for everything (CI) shall not get less unseen. */
export function verdict({ platform, uid, ci }: Machine): Verdict {
  const why =
    platform !== 'linux'
      ? `a node needs Linux; this is ${platform}`
      : uid !== 0
        ? `a node needs root (namespaces, mounts, cgroups); this is uid ${uid}: sudo -E npm test`
        : undefined;
  return why === undefined ? { run: true } : { run: false, fail: ci, why };
}

/** `describe` for tests on a real node. Where none can be run it says what is left out, and fails instead when CI is set. */
export function describeCluster(name: string, body: () => void): void {
  const ci = !['', '0', 'false'].includes(process.env.CI ?? '');
  const judged = verdict({ platform: process.platform, uid: process.getuid?.(), ci });
  if (judged.run) {
    describe(name, body);
    return;
  }
  if (judged.fail) it(name, () => expect.fail(`expected to run on a real node; ${judged.why}`));
  else {
    console.warn(`left out: ${name}. Reason: ${judged.why}`);
    describe.skip(name, body);
  }
}
