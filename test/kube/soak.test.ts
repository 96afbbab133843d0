import { expect, it } from 'vitest';
import { faultsIn } from '../soak/limits.ts';
import { soak } from '../soak/soak.ts';

/** `npm run soak` for ten minutes; this is the same for one. */
const OPTIONS = { seconds: 60, everyMs: 100, restartSeconds: 15 };

it('reconciles a stream of tunnels through restarts of the API server', { timeout: 900_000 }, async () => {
  const lines: string[] = [];
  const figures = await soak(OPTIONS, (line) => lines.push(line));
  expect(faultsIn(figures, OPTIONS), `${JSON.stringify(figures)}\n${lines.join('\n')}`).toEqual([]);
});
