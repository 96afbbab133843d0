import { expect, it } from 'vitest';
import { judgeTunnel } from '../../src/operator/judge-tunnel.ts';
import { planOf } from '../../src/operator/tunnel-plan.ts';
import { tunnelOf } from '../support/tunnels.ts';

it('has nothing against a tunnel for a status that another version of the operator wrote', () => {
  const metadata = { name: 'orders-db', namespace: 'shop', generation: 7 };
  const asked = { ...tunnelOf(), metadata };
  const object = { ...asked, status: { observedGeneration: 'newer', conditions: 1, unknownYet: true } };
  expect(planOf(object).refusal).toBe(null);
  expect(judgeTunnel(metadata.name, 'shop', object).ok).toBe(true);
  // Nor does it make it another tunnel.
  expect(planOf(object)).toEqual(planOf(asked));
});
