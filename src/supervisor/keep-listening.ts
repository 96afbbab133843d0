import type { HttpServer } from '../telemetry/http-server.ts';

export type ListenOptions = {
  readonly host?: string | undefined;
  readonly port: number;
  /** What a person can set to another port. */
  readonly setting: string;
  readonly onServed: () => void;
  /** Told of a problem once, and again only when it is another. */
  readonly onProblem: (problem: string) => void;
};

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Serves as soon as that is possible, however long it takes: a port that somebody else has costs what is served there, never the
 * tunnel. Tries at once, then after pauses of 1 s, doubled up to 30 s, until it is closed.
 */
export const keepListening = (serve: () => Promise<HttpServer>, options: ListenOptions): HttpServer => {
  let server: HttpServer | null = null;
  let isClosed = false;
  let timer: NodeJS.Timeout | undefined;
  let pauseMs = FIRST_PAUSE_MS;
  let told = '';

  const attempt = async (): Promise<void> => {
    try {
      server = await serve();
      if (isClosed) server.close();
      else options.onServed();
    } catch (error) {
      if (isClosed) return;
      const problem = problemOf(error as NodeJS.ErrnoException, options);
      if (problem !== told) options.onProblem(problem);
      told = problem;
      timer = setTimeout(attempt, pauseMs);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  };
  void attempt();
  return {
    close: () => {
      isClosed = true;
      clearTimeout(timer);
      server?.close();
    },
  };
};

const problemOf = ({ code, message }: NodeJS.ErrnoException, { host, port, setting }: ListenOptions): string => {
  const place = `port ${port} of ${host ?? 'all addresses'}`;
  return code === 'EADDRINUSE'
    ? `expected ${place} to be free; got ${code}: end what uses it or set another (${setting}); it is tried again`
    : `expected to listen on ${place}; got ${code ?? message}: set another (${setting}); it is tried again`;
};
