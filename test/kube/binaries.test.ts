import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensureBinaries } from '../support/cluster/binaries.ts';

describe('a machine without Go', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'autossh-test-'));
    const bin = join(dir, 'bin');
    mkdirSync(bin);
    for (const name of ['sh', 'cat', 'flock', 'setpriv']) symlinkSync(`/usr/bin/${name}`, join(bin, name));
    vi.stubEnv('PATH', bin);
    vi.stubEnv('XDG_CACHE_HOME', join(dir, 'cache'));
    vi.stubEnv('KUBEBUILDER_ASSETS', '');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(dir, { recursive: true, force: true });
  });

  it('is told what is missing, what for, and two ways out', async () => {
    const lines: string[] = [];
    const built = ensureBinaries(['kube-scheduler'], { log: (line) => lines.push(line) });
    await expect(built).rejects.toThrow(
      /^expected Go to build kube-scheduler v1\.35\.4; got: spawn go ENOENT\. Install Go .*, or set KUBEBUILDER_ASSETS/,
    );
    expect(lines).toEqual([expect.stringMatching(/^building kube-scheduler v1\.35\.4: 0 s \(about \d+ s/)]);
  });
});
