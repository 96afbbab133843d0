import { ApiError, isAlreadyExists, isConflict, isNotFound } from './api-error.ts';
import type { KubeClient } from './client.ts';
import { type Clock, sleep, systemClock } from './clock.ts';
import { describe, type Log, silent } from './log.ts';
import { type Meter, unmetered } from './meter.ts';
import { microTime } from './micro-time.ts';
import type { KubeObject } from './object.ts';
import { LEASES } from './resource.ts';

export type LeaderElectorOptions = {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Different in every process, also in one that follows another of the same name: pod name and a random part. */
  readonly identity: string;
  /** How long others leave a leader alone of whom they hear nothing. Default 15,000. */
  readonly leaseMs?: number;
  /** How long a leader goes on without a successful renewal. Default 10,000; must be less than leaseMs. */
  readonly renewMs?: number;
  /** Time between attempts. Default 2,000. */
  readonly retryMs?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly log?: Log;
  readonly meter?: Meter;
};

export type LeaderElector = {
  /** True only while nobody else can have taken the lease. To be asked right before each write: see `guardWrites`. */
  readonly isLeader: () => boolean;
  /** Whoever led when last seen; empty when nobody. */
  readonly leader: () => string;
  /**
   * Waits for the lease and calls `lead` once. Its first signal is aborted when `signal` is (the lease is then renewed until `lead`
   * has ended, and released), or when the lease is lost (nothing is waited for); its second only when the lease is lost, also while
   * `lead` comes to its end. Resolves `stopped` or `lost`; after `lost` the process should end, since something may still be under
   * way. Rejects with what `lead` rejects with.
   */
  readonly run: (signal: AbortSignal, lead: Lead) => Promise<'stopped' | 'lost'>;
};

export type Lead = (signal: AbortSignal, lost: AbortSignal) => Promise<void>;

/** coordination.k8s.io/v1 */
export type Lease = KubeObject & {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
};

/** Attempts to acquire are spread over 1 to 2.2 retry periods, so that waiting processes do not meet (client-go JitterFactor). */
const JITTER = 1.2;

/**
 * One leader by a Lease, after client-go tools/leaderelection: compare-and-swap by resourceVersion; the times in the Lease are for
 * people, and whether a lease has run out is measured on our own monotonic clock from when we saw it change last. A renewal counts
 * from before it was sent, so that our own end comes before anybody else's beginning by leaseMs - renewMs.
 */
export const createLeaderElector = (options: LeaderElectorOptions): LeaderElector => {
  const { client, namespace, name, identity, leaseMs = 15_000, renewMs = 10_000, retryMs = 2_000 } = options;
  const { clock = systemClock, random = Math.random, log = silent, meter = unmetered } = options;
  if (!(renewMs < leaseMs && retryMs * JITTER < renewMs))
    throw new RangeError(`expected retryMs * ${JITTER} < renewMs < leaseMs; got ${retryMs}, ${renewMs}, ${leaseMs}`);
  const place = { namespace, name };
  let seen: { readonly lease: Lease; readonly spec: string; readonly at: number } | undefined;
  let leading = false;
  let validUntil = Number.NEGATIVE_INFINITY;

  const observe = (lease: Lease) => {
    const spec = JSON.stringify(lease.spec ?? {});
    const at = seen?.spec === spec ? seen.at : clock.now();
    if (seen?.lease.spec?.holderIdentity !== lease.spec?.holderIdentity)
      log('info', 'leader changed', { leader: lease.spec?.holderIdentity ?? '' });
    seen = { lease, spec, at };
  };

  /** Whether somebody else has it and may still think so. */
  const isTaken = (): boolean => {
    const { holderIdentity, leaseDurationSeconds = leaseMs / 1000 } = seen?.lease.spec ?? {};
    if (seen === undefined || !holderIdentity || holderIdentity === identity) return false;
    return clock.now() < seen.at + leaseDurationSeconds * 1000;
  };

  const specNow = (old: Lease | undefined): Lease['spec'] => {
    const now = microTime(clock.date());
    const mine = old?.spec?.holderIdentity === identity;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseMs / 1000),
      acquireTime: (mine && old?.spec?.acquireTime) || now,
      renewTime: now,
      leaseTransitions: (old?.spec?.leaseTransitions ?? 0) + (mine || old === undefined ? 0 : 1),
    };
  };

  const put = async (old: Lease, spec: Lease['spec']): Promise<void> => {
    const { resourceVersion } = old.metadata;
    const metadata = { name, namespace, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
    observe(await client.update<Lease>(LEASES, { metadata, spec: spec ?? {} }, call));
  };
  const call = { timeoutMs: renewMs / 2 };

  /** One attempt. True when the lease is ours; rejects when nothing is known. */
  const attempt = async (): Promise<boolean> => {
    if (leading && seen !== undefined)
      try {
        await put(seen.lease, specNow(seen.lease));
        return true;
      } catch (error) {
        if (!isConflict(error) && !isNotFound(error)) throw error;
        meter.count('leader_election_slowpath_total', { name });
      }
    try {
      observe(await client.get<Lease>(LEASES, place, call));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      observe(await client.create<Lease>(LEASES, { metadata: place, spec: specNow(undefined) ?? {} }, call));
      return true;
    }
    if (isTaken() || seen === undefined) return false;
    await put(seen.lease, specNow(seen.lease));
    return true;
  };

  /** The same, told in the log; undefined when nothing is known. */
  const tryOnce = async (): Promise<boolean | undefined> => {
    const sent = clock.now();
    try {
      const ours = await attempt();
      if (ours) validUntil = sent + renewMs;
      return ours;
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return undefined;
      const level = error instanceof ApiError && error.code === 403 ? 'error' : 'warn';
      log(level, 'lease not renewed', { lease: `${namespace}/${name}`, error: describe(error) });
      return undefined;
    }
  };

  const release = async (): Promise<void> => {
    if (seen === undefined) return;
    const now = microTime(clock.date());
    const { leaseTransitions = 0 } = seen.lease.spec ?? {};
    const spec = { leaseDurationSeconds: 1, acquireTime: now, renewTime: now, leaseTransitions };
    try {
      await put(seen.lease, spec);
    } catch (error) {
      log('warn', 'lease not released: others wait until it has run out', { error: describe(error) });
    }
  };

  const acquire = async (signal: AbortSignal): Promise<boolean> => {
    while (!signal.aborted) {
      if (await tryOnce()) return true;
      await sleep(clock, retryMs * (1 + JITTER * random()), signal);
    }
    return false;
  };

  /** Renews until `until` is aborted; resolves true then, false as soon as the lease is lost. */
  const hold = async (until: AbortSignal): Promise<boolean> => {
    while (!until.aborted) {
      const left = validUntil - clock.now();
      if (left <= 0) return false;
      await sleep(clock, Math.min(retryMs, left), until);
      if (until.aborted) break;
      const tried = new AbortController();
      const tooLate = sleep(clock, validUntil - clock.now(), tried.signal);
      const ours = await Promise.race([tryOnce(), tooLate]);
      tried.abort();
      if (ours === false) return false;
    }
    return clock.now() < validUntil;
  };

  return {
    isLeader: () => leading && clock.now() < validUntil,
    leader: () => seen?.lease.spec?.holderIdentity ?? '',
    run: async (signal, lead) => {
      meter.set('leader_election_master_status', { name }, 0);
      if (!(await acquire(signal))) return 'stopped';
      leading = true;
      meter.set('leader_election_master_status', { name }, 1);
      log('info', 'leading', { lease: `${namespace}/${name}`, identity });
      const work = new AbortController();
      const lost = new AbortController();
      const pass = () => work.abort(signal.reason);
      if (signal.aborted) pass();
      signal.addEventListener('abort', pass, { once: true });
      const ended = new AbortController();
      const led = lead(work.signal, lost.signal).finally(() => ended.abort());
      led.catch(() => {});
      const held = await hold(ended.signal);
      signal.removeEventListener('abort', pass);
      meter.set('leader_election_master_status', { name }, 0);
      if (!held) {
        leading = false;
        log('error', 'lease lost', { lease: `${namespace}/${name}` });
        const reason = new Error('the lease is lost');
        lost.abort(reason);
        work.abort(reason);
        return 'lost';
      }
      // A renewal that is still under way would make the release a conflict: both go one after the other.
      leading = false;
      await release();
      await led;
      return 'stopped';
    },
  };
};
