import { expect, it, vi } from 'vitest';
import { createStderrRelay } from '../../src/supervisor/stderr-relay.ts';

const REFUSED = 'Warning: remote port forwarding failed for listen port 0\n';
const OPEN_FAILED = 'channel 3: open failed: connect failed: Connection refused\n';

const relayed = () => {
  let text = '';
  const write = (bytes: string | Uint8Array) => {
    text += Buffer.from(bytes).toString();
  };
  return { ...createStderrRelay({ write, flush: async () => {} }), text: () => text };
};

it('passes on what the user has to do with, and what it does not expect', () => {
  const { push, expectNoise, text } = relayed();
  push(Buffer.from(OPEN_FAILED));
  expectNoise(1);
  push(Buffer.from(`Permission denied\n${OPEN_FAILED}${OPEN_FAILED}`));
  expect(text()).toBe(`${OPEN_FAILED}Permission denied\n${OPEN_FAILED}`);
});

it('still expects what is late when more is expected, until it is told that none comes', () => {
  const { push, expectNoise, text } = relayed();
  expectNoise(2);
  expectNoise(1);
  push(Buffer.from(REFUSED + OPEN_FAILED));
  expect(text()).toBe('');
  expectNoise(2);
  expectNoise(0);
  push(Buffer.from(OPEN_FAILED));
  expect(text()).toBe(OPEN_FAILED);
});

it('keeps a probe’s messages back, each probe its own, and the heartbeat’s “none comes” is not about them', async () => {
  vi.useFakeTimers();
  try {
    const { push, expectNoise, muffle, text } = relayed();
    const [one, other] = [muffle(1), muffle(1)];
    expectNoise(0);
    push(Buffer.from(OPEN_FAILED.repeat(2)));
    expect(text()).toBe('');
    push(Buffer.from(OPEN_FAILED));
    expect(text()).toBe(OPEN_FAILED);
    one();
    other();
    const late = muffle(1);
    late();
    push(Buffer.from(OPEN_FAILED));
    expect(text()).toBe(OPEN_FAILED);
    vi.advanceTimersByTime(5_000);
    push(Buffer.from(OPEN_FAILED));
    expect(text()).toBe(OPEN_FAILED.repeat(2));
  } finally {
    vi.useRealTimers();
  }
});
