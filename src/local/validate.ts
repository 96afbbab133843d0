import { documentOf } from '../api/hand-over.ts';
import type { Purpose } from './judge.ts';
import { type Inputs, load } from './load.ts';
import type { Streams } from './read-streams.ts';
import { violationText } from './violation.ts';

export type ValidateOptions = Inputs & {
  readonly streams: Streams;
  readonly purpose: Purpose;
  readonly output: 'text' | 'json';
};

/** Judges files and starts nothing: what to write to stdout and stderr, and the exit code, 1 where anything is wrong. */
export const validate = (
  options: ValidateOptions,
): { readonly out: string; readonly err: string; readonly code: number } => {
  const { tunnels, violations, ignored } = load(options, options.streams, options.purpose);
  const code = violations.length === 0 ? 0 : 1;
  const fine = tunnels.map(({ id, source, tunnel }) => {
    const { ssh, jumpHosts, forwards } = documentOf(tunnel);
    const hops = jumpHosts.length === 0 ? '' : ` over ${jumpHosts.map(({ host }) => host).join(', ')}`;
    const server = `${ssh.user}@${ssh.host}:${ssh.port}${hops}`;
    return {
      file: source.file,
      line: source.at('').line,
      tunnel: id,
      server,
      forwards: forwards.map(({ name }) => name),
    };
  });
  if (options.output === 'json') {
    const result = {
      valid: code === 0,
      violations: violations.map(({ isRule: _, ...one }) => one),
      tunnels: fine,
      ignored,
    };
    return { out: `${JSON.stringify(result, null, 2)}\n`, err: '', code };
  }
  const lines = fine.map(
    ({ file, line, tunnel, server, forwards }) =>
      `${file}:${line}: SshTunnel/${tunnel}: ok: ${forwards.length} ${forwards.length === 1 ? 'forward' : 'forwards'} through ${server}\n`,
  );
  return { out: lines.join(''), err: violations.map((one) => `${violationText(one)}\n`).join(''), code };
};
