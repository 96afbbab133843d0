import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configMapData } from '../../src/api/hand-over.ts';
import { configHash } from '../../src/operator/config-hash.ts';
import { tunnelOf } from '../support/tunnels.ts';

describe('the hash of a ConfigMap', () => {
  it('is the one it was in earlier versions: a new one would touch every pod', () => {
    expect(configHash({ AUTOSSH_POLL: '5', AUTOSSH_TUNNEL: '{}' })).toBe('87a03199db406159');
  });

  it('does not depend on the order of the keys, and on everything else', () => {
    const data = fc.dictionary(fc.string(), fc.string());
    fc.assert(
      fc.property(data, data, (one, other) => {
        const reversed = Object.fromEntries(Object.entries(one).reverse());
        expect(configHash(reversed)).toBe(configHash(one));
        const same = JSON.stringify(Object.entries(one).sort()) === JSON.stringify(Object.entries(other).sort());
        expect(configHash(one) === configHash(other)).toBe(same);
      }),
    );
  });

  it('follows the tunnel', () => {
    const hash = (spec?: object) => configHash(configMapData(tunnelOf({ ...spec })));
    expect(hash()).toBe(hash());
    expect(hash({ suspend: true })).not.toBe(hash());
  });
});
