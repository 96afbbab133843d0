import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';

const library = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/faketime/libfaketime.so.1`;

/** Why a process cannot be given a time of day of its own here; null: it can. */
export const fakeTimeMissing = existsSync(library) ? null : 'no libfaketime: apt-get install libfaketime';

/** The time of day of the processes that get this environment; their monotonic clock is the real one. */
export type FakeTime = {
  readonly env: Readonly<Record<string, string>>;
  /** Sets it to so many seconds after the real time, at once. */
  readonly set: (seconds: number) => void;
  /** The library leaves shared memory of each process behind that a signal ended. */
  readonly removeTraces: (pid: number) => void;
};

export const createFakeTime = (file: string): FakeTime => {
  const set = (seconds: number) => {
    // Read whenever anybody asks for the time: never half of it.
    writeFileSync(`${file}.new`, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}s\n`);
    renameSync(`${file}.new`, file);
  };
  set(0);
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    set,
    removeTraces: (pid) => {
      for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`])
        rmSync(`/dev/shm/${name}`, { force: true });
    },
  };
};
