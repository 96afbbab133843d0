import { describe, expect, it } from 'vitest';
import { freePort } from '../support/port.ts';

describe('the ports of tests', () => {
  it('are even and never the same, and leave the one above to whoever drew them', async () => {
    const ports = await Promise.all(Array.from({ length: 50 }, () => freePort()));
    expect(ports.filter((port) => port % 4 !== 0)).toEqual([]);
    expect(new Set(ports).size).toBe(ports.length);
  });

  it('are said not to be there at an address that is not this machine’s', async () => {
    await expect(freePort('192.0.2.1')).rejects.toThrow(
      /expected a free port of 192\.0\.2\.1 from \d+ to \d+; got none/,
    );
  });
});
