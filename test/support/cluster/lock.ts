import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Does `work` while no other process of this machine does work under the same file.
 *
 * The lock is the kernel's (flock), held by a child that lives as long as its input is open, so it cannot go stale:
 * whatever ends this process closes the pipe, ends the child, frees the lock. The pid in the file only serves the message of who waits.
 */
export async function withLock<T>(file: string, log: (line: string) => void, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const holder = await acquire(file, log);
  try {
    writeFileSync(file, `${process.pid}\n`);
    return await work();
  } finally {
    const released = new Promise((resolve) => holder.once('exit', resolve));
    holder.stdin?.end();
    await released;
  }
}

async function acquire(file: string, log: (line: string) => void): Promise<ChildProcess> {
  const atOnce = await tryFlock(['--nonblock', file]);
  if (atOnce) return atOnce;
  const began = performance.now();
  const progress = () => {
    const holder = readFileSync(file, 'utf8').trim() || 'unknown';
    log(`waiting for process ${holder}, which holds ${file}: ${Math.round((performance.now() - began) / 1000)} s`);
  };
  progress();
  const timer = setInterval(progress, 15_000);
  const later = await tryFlock([file]).finally(() => clearInterval(timer));
  if (later) return later;
  throw new Error(`expected flock to lock ${file}; got a refusal: is the folder writable, and util-linux installed?`);
}

function tryFlock(args: string[]): Promise<ChildProcess | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      'flock',
      ['--conflict-exit-code', '75', ...args, 'sh', '-c', 'echo held; exec cat >/dev/null'],
      {
        stdio: ['pipe', 'pipe', 'ignore'],
      },
    );
    child.once('error', reject);
    child.once('exit', () => resolve(undefined));
    child.stdout.once('data', () => resolve(child));
  });
}
