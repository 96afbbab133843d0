import { applyPatch, type Operation } from 'rfc6902';
import { describe, expect, it } from 'vitest';
import { answerReview, parseReview } from '../../src/kube/admission-review.ts';
import { createPodAdmission } from '../../src/operator/admission.ts';
import { IMAGE, injected, podAsking, tunnelsNamed } from '../support/pods.ts';

const tunnels = tunnelsNamed({ a: {} });
const asked: unknown[] = [];
const admit = createPodAdmission({
  image: IMAGE,
  tunnelsOf: async (namespace, names) => {
    asked.push([namespace, names]);
    return tunnels;
  },
});

const review = async (object: object, more: object = {}) => {
  const request = {
    uid: 'u-1',
    kind: { group: '', version: 'v1', kind: 'Pod' },
    resource: { group: '', version: 'v1', resource: 'pods' },
    operation: 'CREATE',
    namespace: 'shop',
    userInfo: {},
    object,
    ...more,
  };
  const parsed = parseReview(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request }));
  const { response } = answerReview(parsed, await admit(parsed)) as {
    response: { uid: string; allowed: boolean; patch?: string; patchType?: string; status?: unknown };
  };
  return response;
};

describe('the answer to the API server', () => {
  it('is a JSON patch that makes the injected pod', async () => {
    const pod = podAsking(['a'], { containers: [{ name: 'app' }], volumes: [{ name: 'data' }] });
    const { patch = '', ...rest } = await review(pod);
    expect(rest).toEqual({ uid: 'u-1', allowed: true, patchType: 'JSONPatch' });
    const operations = JSON.parse(Buffer.from(patch, 'base64').toString()) as Operation[];
    // Fields that this version does not know can only survive where nothing is replaced as a whole.
    expect(operations.map(({ op }) => op)).not.toContain('replace');
    const document = structuredClone(pod);
    expect(applyPatch(document, operations).filter((error) => error !== null)).toEqual([]);
    expect(document).toEqual(injected(pod, tunnels));
    expect(asked.at(-1)).toEqual(['shop', ['a']]);
  });

  it('to a pod that was patched already is that it may pass as it is', async () => {
    expect(await review(injected(podAsking(['a']), tunnels))).toEqual({ uid: 'u-1', allowed: true });
  });

  it('is a refusal with a sentence', async () => {
    expect(await review(podAsking(['b']))).toEqual({
      uid: 'u-1',
      allowed: false,
      status: { code: 403, message: expect.stringContaining('there is no SshTunnel "b" in namespace "shop"') },
    });
  });

  const pod = podAsking(['a']);
  it.each<[string, object, object]>([
    ['pods that ask for nothing', { ...pod, metadata: {} }, {}],
    ['other verbs', pod, { operation: 'UPDATE' }],
    ['subresources', pod, { subResource: 'ephemeralcontainers' }],
    ['other resources', pod, { resource: { group: 'apps', version: 'v1', resource: 'deployments' } }],
  ])('lets %s pass without looking for tunnels', async (_what, object, more) => {
    const before = asked.length;
    expect(await review(object, more)).toEqual({ uid: 'u-1', allowed: true });
    expect(asked).toHaveLength(before);
  });

  it('is the error of a lookup that fails, so that nothing passes without its tunnel', async () => {
    const broken = createPodAdmission({ image: IMAGE, tunnelsOf: () => Promise.reject(new Error('no API server')) });
    const request = parseReview(
      JSON.stringify({
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        request: { uid: 'u', operation: 'CREATE', resource: { group: '', resource: 'pods' }, object: pod },
      }),
    );
    await expect(broken(request)).rejects.toThrow('no API server');
  });
});
