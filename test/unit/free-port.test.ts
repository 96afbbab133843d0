import { describe, expect, it } from 'vitest';
import { freePort } from '../support/port.ts';

describe('the ports of tests', () => {
  it('are even and never the same, and leave the one above to whoever drew them', async () => {
    const ports = await Promise.all(Array.from({ length: 50 }, () => freePort()));
    expect(ports.filter((port) => port % 4 !== 0)).toEqual([]);
    expect(new Set(ports).size).toBe(ports.length);
  });
});
