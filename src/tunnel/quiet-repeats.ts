import { kindOf, type PastFailure } from './resident-past.ts';

/** Failures that say the same, as far as they were told. Times are milliseconds of any clock. */
type Told = {
  readonly kind: string;
  readonly since: number;
  readonly lastAt: number;
  readonly count: number;
  readonly lines: number;
  /** When it is worth a line again. */
  readonly nextAt: number;
};

/** What has been told of an outage: from the first failure until the tunnel has been up for `WELL_AFTER_MS`. */
export type Outage = {
  readonly downSince: number | null;
  readonly attempts: number;
  /** The kinds of failure it has, the last one at the end. */
  readonly kinds: readonly Told[];
  /** When bytes went round again; null: they do not. */
  readonly upSince: number | null;
  /** Whether a line told of a failure since the last one that told of a recovery. */
  readonly owesRecovery: boolean;
  /** Whether the present recovery was told. */
  readonly upTold: boolean;
};

export const noOutage: Outage = {
  ...{ downSince: null, attempts: 0, kinds: [] },
  ...{ upSince: null, owesRecovery: false, upTold: false },
};

/** How much of an event a log is to have. */
export type Telling =
  | { readonly tell: 'full' }
  /** `count` failures that say the same within `spanMs`; the next line of the kind comes after `nextMs` at the earliest. */
  | { readonly tell: 'summary'; readonly count: number; readonly spanMs: number; readonly nextMs: number }
  /** Bytes go round again after `downMs` and so many failures. */
  | { readonly tell: 'recovered'; readonly downMs: number; readonly attempts: number }
  | { readonly tell: 'nothing' };
export type Judgement = { readonly outage: Outage; readonly telling: Telling };

/** From the first line of a failure to the second, from the second to the third, and so on; the last one stays. */
const INTERVALS_MS = [1, 5, 15, 60].map((minutes) => minutes * 60_000);
/** A connection that ends sooner than this after a failure was no recovery: its end belongs to the same outage. */
export const WELL_AFTER_MS = 60_000;
/** A failure that comes back after others is news again only if it stayed away this long: two that take turns are not. */
const NEWS_AFTER_MS = 60_000;
const MOST_KINDS = 8;

/**
 * What a failure is worth: the first of its kind is told in full, the same one again as a sum and at growing intervals. A tunnel that
 * fails the same way for a night of twelve hours costs 15 lines.
 */
export const failedAgain = (was: Outage, failure: Pick<PastFailure, 'reason' | 'detail'>, at: number): Judgement => {
  const outage = was.upSince !== null && at - was.upSince >= WELL_AFTER_MS ? noOutage : was;
  const kind = kindOf(failure);
  const known = outage.kinds.find((one) => one.kind === kind);
  const isNews = known === undefined || (known !== outage.kinds.at(-1) && at - known.lastAt >= NEWS_AFTER_MS);
  const judged = (told: Told, telling: Telling): Judgement => ({
    outage: {
      downSince: outage.downSince ?? at,
      attempts: outage.attempts + 1,
      kinds: [...outage.kinds.filter((one) => one.kind !== kind), told].slice(-MOST_KINDS),
      upSince: null,
      upTold: false,
      owesRecovery: outage.owesRecovery || telling.tell !== 'nothing',
    },
    telling,
  });
  if (isNews)
    return judged({ kind, since: at, lastAt: at, count: 1, lines: 1, nextAt: at + interval(0) }, { tell: 'full' });
  const count = known.count + 1;
  if (at < known.nextAt) return judged({ ...known, lastAt: at, count }, { tell: 'nothing' });
  const nextMs = interval(known.lines);
  return judged(
    { ...known, lastAt: at, count, lines: known.lines + 1, nextAt: at + nextMs },
    { tell: 'summary', count, spanMs: at - known.since, nextMs },
  );
};

/**
 * What a heartbeat that came back is worth: a recovery is told once for each line that told of failures. A tunnel that goes up and down
 * all the time tells of its ups as seldom as of its downs, and once more when it has stayed up.
 */
export const cameBack = (outage: Outage, at: number): Judgement => {
  if (outage.downSince === null) return { outage, telling: { tell: 'nothing' } };
  const upSince = outage.upSince ?? at;
  const isWell = at - upSince >= WELL_AFTER_MS;
  const isNews = outage.upSince === null ? outage.owesRecovery : isWell && !outage.upTold;
  return {
    outage: isWell ? noOutage : { ...outage, upSince, owesRecovery: false, upTold: outage.upTold || isNews },
    telling: isNews
      ? { tell: 'recovered', downMs: upSince - outage.downSince, attempts: outage.attempts }
      : { tell: 'nothing' },
  };
};

/** A new configuration or a wish from outside: whatever fails now is news. */
export const allIsNews = (outage: Outage): Outage => ({ ...outage, kinds: [] });

/** Whether what happens now is probably the same again: a start of ssh, its words. */
export const isRepeating = (outage: Outage): boolean => outage.kinds.length > 0;

const interval = (line: number): number => INTERVALS_MS[Math.min(line, INTERVALS_MS.length - 1)] ?? 0;
