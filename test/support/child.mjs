// Plain JavaScript: run.mjs needs it before anything is installed.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/**
 * Runs a program to its end and answers its exit status. A signal that asks this process to end goes to the program, whose end is
 * waited for: it may have a cluster to take down, and a shell must not show its prompt meanwhile.
 */
export function runToItsEnd(command, args, env = process.env) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', env });
    // A terminal's Ctrl-C reaches the program by itself, and a second one would be taken for impatience.
    const handlers = ['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => [
      signal,
      () => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal)),
    ]);
    for (const [signal, handler] of handlers) process.on(signal, handler);
    const forget = () => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
    };
    child.once('error', (problem) => {
      forget();
      reject(problem);
    });
    child.once('exit', (code, signal) => {
      forget();
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}
