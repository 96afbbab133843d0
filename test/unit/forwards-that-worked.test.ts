import { describe, expect, it } from 'vitest';
import { remoteForwardFailure } from '../../src/tunnel/failure.ts';
import { ForwardsThatWorked } from '../../src/tunnel/forwards-that-worked.ts';

/** Runs that stood, each with the ports that were refused in it; what the last one's refusals were taken for. */
const after = (...runs: number[][]): boolean[] => {
  const forwards = new ForwardsThatWorked();
  return runs.reduce<boolean[]>((_, ports) => {
    forwards.next();
    const taken = ports.map((port) => forwards.refused(port));
    forwards.stand();
    return taken;
  }, []);
};

describe('a remote forward that is refused', () => {
  it.each<[string, number[][], boolean[]]>([
    ['in the first run has not worked', [[8080]], [false]],
    ['worked in an earlier run', [[], [8080]], [true]],
    ['still, in the run after that', [[], [8080], [8080]], [true]],
    ['never worked', [[8080], [8080]], [false]],
    ['is another one than that which never worked', [[8080], [8080, 9090]], [false, true]],
    ['without a port has worked where all had', [[], [8080], [-1182091824]], [true]],
    ['without a port may be the one that never worked', [[8080], [-1182091824]], [false]],
    ['without a port makes none of those that worked', [[8080], [-1182091824], [8080]], [false]],
    ['with a number that is no port', [[], [70_000]], [true]],
  ])('%s', (_, runs, taken) => {
    expect(after(...runs)).toEqual(taken);
  });

  it('is known by its line, the port in it or not', () => {
    // Seen with OpenSSH 9.2.
    const line = 'Warning: remote port forwarding failed for listen port -1182091824';
    expect(remoteForwardFailure(line)).toBe(-1182091824);
  });
});
