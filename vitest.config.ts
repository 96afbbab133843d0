import { defineConfig } from 'vitest/config';

/**
 * One project per kind of reality a test needs. `unit` is pure logic; `ssh` runs real sshd, ssh and autossh; `kube` a real
 * kube-apiserver; `cluster` a real kubelet. The last three share two cores with real programs: `ssh`, which mostly waits, runs three
 * files at a time, `kube` two, `cluster` one. A test of theirs that fails has a second try, which is told (test/support/second-tries.ts).
 */
export default defineConfig({
  test: {
    globalSetup: ['test/support/built.ts'],
    reporters: ['default', 'test/support/second-tries.ts'],
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 60_000 } },
      {
        extends: true,
        test: {
          name: 'ssh',
          include: ['test/ssh/**/*.test.ts'],
          testTimeout: 240_000,
          retry: 1,
          hookTimeout: 120_000,
          maxWorkers: 3,
          // Tests that say so run side by side within their file: most of their time is waiting for a timeout.
          maxConcurrency: 25,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'kube',
          include: ['test/kube/**/*.test.ts'],
          testTimeout: 300_000,
          retry: 1,
          hookTimeout: 1_800_000,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          testTimeout: 600_000,
          retry: 1,
          hookTimeout: 3_600_000,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
