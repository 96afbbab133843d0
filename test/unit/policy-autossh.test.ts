import { describe, expect, it } from 'vitest';
import { DEFAULTS } from '../../src/tunnel/autossh-env.ts';
import { type Exit, type Next, newTunnel, type Tunnel } from '../../src/tunnel/machine.ts';
import {
  type AutosshPolicyOptions,
  autosshPolicy,
  gateSeconds,
  graceSeconds,
  isPremature,
} from '../../src/tunnel/policy-autossh.ts';

const options = (settings = {}, more: Partial<AutosshPolicyOptions> = {}): AutosshPolicyOptions => ({
  settings: { ...DEFAULTS, ...settings },
  ...{ bornAt: 0, background: false, noSession: false, connectDeadlineMs: null },
  ...more,
});
const ran = (starts: number): Tunnel => ({ ...newTunnel(0), state: 'Connecting', starts, startedAt: 0 });
const exit = (code: number | null, signal: number | null = null): Exit => ({
  ...{ code, signal, reason: 'Unknown', detail: '' },
});
const at = (seconds: number) => ({ at: seconds * 1000, random: 0 });
const RESTART: Next = { to: 'restart' };
const EXIT_0: Next = { to: 'exit', code: 0 };
const EXIT_1: Next = { to: 'exit', code: 1 };

describe('what an exit of ssh leads to (1.4g, ssh_wait)', () => {
  type Row = [about: string, given: Partial<Parameters<typeof judge>[0]>, Next];
  const judge = ({ starts = 1, lived = 100, gateTime = 30, background = false, noSession = false, how = exit(255) }) =>
    autosshPolicy(options({ gateTime }, { background, noSession })).afterExit(ran(starts), how, at(lived)).next;
  it.each<Row>([
    ['255 after the gate time', {}, RESTART],
    ['255 within the gate time', { lived: 29 }, EXIT_1],
    ['255 at the gate time to the second', { lived: 30.9 }, EXIT_1],
    ['255 just after it', { lived: 31 }, RESTART],
    ['255 early, but a later ssh', { lived: 1, starts: 2 }, RESTART],
    ['255 early, no gate time', { lived: 1, gateTime: 0 }, RESTART],
    ['255 early, in the background', { lived: 1, background: true }, RESTART],
    ['0, a session', { how: exit(0) }, EXIT_0],
    ['0 early, a session', { how: exit(0), lived: 1 }, EXIT_1],
    ['0 early, no gate time', { how: exit(0), lived: 1, gateTime: 0 }, EXIT_0],
    // The named difference: ssh -N ends with 0 only where somebody ended it.
    ['0, no session', { how: exit(0), noSession: true }, RESTART],
    ['1, the first ssh', { how: exit(1) }, EXIT_1],
    ['2, the first ssh', { how: exit(2) }, EXIT_1],
    ['1, a later ssh', { how: exit(1), starts: 2 }, RESTART],
    ['2, a later ssh', { how: exit(2), starts: 2 }, RESTART],
    ['1, no gate time', { how: exit(1), gateTime: 0 }, RESTART],
    ['2, in the background', { how: exit(2), background: true }, RESTART],
    ['3', { how: exit(3), starts: 2, gateTime: 0 }, EXIT_1],
    ['127', { how: exit(127), starts: 2 }, EXIT_1],
    ['254', { how: exit(254), starts: 2 }, EXIT_1],
    ['SIGKILL', { how: exit(null, 9) }, RESTART],
    ['SIGTERM', { how: exit(null, 15) }, RESTART],
    ['a signal early', { how: exit(null, 15), lived: 1 }, RESTART],
    ['no ssh to run', { how: { ...exit(null), spawnError: 'No such file or directory' }, starts: 9 }, EXIT_1],
  ])('%s', (_about, given, next) => expect(judge(given)).toEqual(next));
});

describe('the gate time', () => {
  it('is none under -f', () => {
    expect(gateSeconds(options({ gateTime: 30 }))).toBe(30);
    expect(gateSeconds(options({ gateTime: 30 }, { background: true }))).toBe(0);
  });

  it('counts for the first ssh only', () => {
    expect(isPremature(ran(1), 5000, options())).toBe(true);
    expect(isPremature(ran(2), 5000, options())).toBe(false);
  });
});

describe('the grace time', () => {
  it.each([
    // AUTOSSH_POLL, and the seconds before the 1st, 2nd, … start in quick succession: 1.4g's grace_time() itself.
    [600, [0, 0, 0, 0, 0, 2, 8, 18, 32, 50, 72, 98, 128, 162, 200]],
    [100, [0, 0, 0, 0, 0, 0, 1, 3, 5, 8, 12, 16, 21, 27, 33]],
    [10, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3]],
  ])('with a poll time of %d s', (poll, seconds) => {
    expect(seconds.map((_, index) => graceSeconds(index + 1, poll))).toEqual(seconds);
  });

  it('is never longer than the poll time', () => {
    expect(graceSeconds(1000, 600)).toBe(600);
    expect(graceSeconds(1e9, 1)).toBe(1);
  });

  it.each([
    // An ssh that lived less than a tenth of the poll time, and never less than 10 s, counts as a try.
    [600, 59.9, 4],
    [600, 60, 0],
    [30, 9.9, 4],
    [30, 10, 0],
    [1199, 118, 4],
    [1199, 119, 0],
  ])('with a poll time of %d s, after an ssh of %d s: try %d', (poll, lived, tries) => {
    const policy = autosshPolicy(options({ poll }));
    expect(policy.beforeStart({ ...ran(3), tries: 3 }, at(lived))).toMatchObject({ go: true, changes: { tries } });
  });
});

describe('the end of all starts', () => {
  const go = (settings: object, starts: number, seconds: number) =>
    autosshPolicy(options(settings)).beforeStart(ran(starts), at(seconds));
  it.each([
    [{ maxStart: 0 }, 0, 0, false],
    [{ maxStart: 3 }, 2, 0, true],
    [{ maxStart: 3 }, 3, 0, false],
    [{ maxStart: -1 }, 1_000_000, 0, true],
    [{ maxLifetime: 60 }, 1, 59.9, true],
    [{ maxLifetime: 60 }, 1, 60, false],
    [{ maxLifetime: 0 }, 1, 1e9, true],
  ])('%j, %d starts, after %d s', (settings, starts, seconds, more) => {
    const decision = go(settings, starts, seconds);
    expect(decision.go).toBe(more);
    if (!decision.go) expect(decision.code).toBe(0);
  });
});
