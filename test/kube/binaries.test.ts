import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensureBinaries } from '../support/cluster/binaries.ts';

describe('a machine without Go', () => {
  let dir: string;
  let bin: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'autossh-test-'));
    bin = join(dir, 'bin');
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

  const built = () => ensureBinaries(['kube-scheduler'], { log: () => {} });

  it('is told what is missing, what for, and two ways out', async () => {
    await expect(built()).rejects.toThrow(
      /^expected Go to build kube-scheduler v1\.35\.4; got none in PATH\. Install Go .*, or set KUBEBUILDER_ASSETS/,
    );
  });

  it('is told so, too, where it has one that cannot read our modules', async () => {
    writeFileSync(join(bin, 'go'), '#!/bin/sh\necho go version go1.19.8 linux/amd64\n', { mode: 0o755 });
    await expect(built()).rejects.toThrow(/got go1\.19\.8\. Install Go \(1\.25 or newer/);
  });
});
