import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { resolve as absolute } from 'node:path';

/** Marks the process that runs in the background; taken out of the environment before ssh sees it. */
const MARK = 'AUTOSSH_IN_BACKGROUND';
/** The descriptor over which the background tells the foreground how its start went. */
const REPORT_FD = 3;

/** Whether this process is the one in the background. Takes the mark away. */
export const isInBackground = (env: Record<string, string | undefined>): boolean => {
  const marked = env[MARK] !== undefined;
  delete env[MARK];
  return marked;
};

/**
 * Goes to the background as daemon(3) does: a session of its own, working directory /, no standard streams. Resolves with the exit
 * code for the foreground once the background has started or said why it cannot; its words go to `say`. `more`: of its environment.
 */
export const goToBackground = (say: (text: string) => void, more: Record<string, string>): Promise<number> =>
  new Promise((resolve) => {
    // 1.4g opens its log before it leaves the user's directory, and its pid file after that.
    const { AUTOSSH_LOGFILE } = process.env;
    const logFile = AUTOSSH_LOGFILE === undefined ? {} : { AUTOSSH_LOGFILE: absolute(AUTOSSH_LOGFILE) };
    const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...logFile, ...more, [MARK]: '1' },
    });
    let report = '';
    child.on('error', (problem) => {
      say(`run as daemon failed: ${problem.message}`);
      resolve(1);
    });
    const pipe = child.stdio[REPORT_FD];
    pipe?.on('data', (chunk: Buffer) => {
      report += chunk;
    });
    pipe?.on('close', () => {
      const [verdict, ...words] = report.trim().split(' ');
      if (verdict === 'ok') return resolve(0);
      say(words.join(' ') || 'the process in the background ended before it was ready');
      resolve(1);
    });
  });

/** Tells the foreground that all is set up, or why it could not be. */
export const reportToForeground = (problem: string | null): void => {
  try {
    writeSync(REPORT_FD, problem === null ? 'ok\n' : `failed ${problem}\n`);
    closeSync(REPORT_FD);
  } catch {
    // The foreground is gone; nobody is left to tell.
  }
};
