import { describe, expect, it } from 'vitest';
import { baseImages, localBase, qualified } from '../support/cluster/dockerfile.ts';

describe('names of images', () => {
  it.each([
    ['app:1', 'docker.io/library/app:1'],
    ['app', 'docker.io/library/app:latest'],
    ['team/app:1', 'docker.io/team/app:1'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app:1', 'localhost:5000/app:1'],
    ['registry.k8s.io/pause:3.10', 'registry.k8s.io/pause:3.10'],
  ])('%s is %s in full', (short, full) => {
    expect(qualified(short)).toBe(full);
  });

  it('reads what a Dockerfile starts from: every base once, no earlier stage, no scratch', () => {
    const text = `# FROM nothing
FROM --platform=linux/amd64 docker.io/library/node:24-trixie-slim AS Build
RUN echo FROM here
from scratch
FROM build
FROM debian:trixie-slim AS last
FROM docker.io/library/node:24-trixie-slim
`;
    expect(baseImages(text)).toEqual(['docker.io/library/node:24-trixie-slim', 'docker.io/library/debian:trixie-slim']);
  });

  it('refuses a base that only the builder could name', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Docker's syntax
    expect(() => baseImages('ARG BASE=x\nFROM ${BASE}\n')).toThrow(
      'expected a plain image name after FROM; got ${BASE}',
    );
  });

  it('knows which bases can be made of Debian packages', () => {
    expect(localBase('node:24-trixie-slim')).toEqual({ suite: 'trixie', node: true });
    expect(localBase('docker.io/library/debian:bookworm-slim')).toEqual({ suite: 'bookworm', node: false });
    for (const other of ['node:22-trixie-slim', 'alpine:3', 'quay.io/library/node:24-trixie-slim'])
      expect(localBase(other)).toBeUndefined();
  });
});
