import { REASONS, type Reason } from '../api/reasons.ts';
import type { RetryClass } from './machine.ts';

/** What a supervisor that is killed in the middle of a pause leaves to its successor. Times are Unix milliseconds. Nothing in it is secret. */
export type SavedBackoff = {
  /** What it was about: another connection, other files or another wish to retry have not failed yet. */
  readonly about: string;
  readonly savedAt: number;
  /** When ssh is to be started again. */
  readonly dueAt: number;
  readonly reason: Reason;
  readonly attempts: Readonly<Record<RetryClass, number>>;
};

/** Anything longer is not ours. */
export const MOST_SAVED_BYTES = 1_024;

export const encodeBackoff = (saved: SavedBackoff): string => `${JSON.stringify({ version: 1, ...saved })}\n`;

/**
 * What counts of a saved backoff now; null where it says nothing, or nothing that can be believed: of something else, older than the
 * longest pause, from the future, or not ours. No start is put off for longer than that pause.
 */
export const decodeBackoff = (
  text: string,
  now: { readonly about: string; readonly unixMs: number; readonly authMaxSeconds: number },
): SavedBackoff | null => {
  const saved = parse(text);
  const longestMs = now.authMaxSeconds * 1000;
  if (saved === null || saved.about !== now.about) return null;
  if (saved.savedAt > now.unixMs || now.unixMs - saved.savedAt > longestMs) return null;
  return { ...saved, dueAt: Math.min(saved.dueAt, saved.savedAt + longestMs) };
};

const parse = (text: string): SavedBackoff | null => {
  if (text.length > MOST_SAVED_BYTES) return null;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof read !== 'object' || read === null) return null;
  const { version, about, savedAt, dueAt, reason, attempts } = read as Record<string, unknown>;
  const known = REASONS.find((one) => one === reason);
  if (version !== 1 || typeof about !== 'string' || known === undefined) return null;
  if (!isTime(savedAt) || !isTime(dueAt) || typeof attempts !== 'object' || attempts === null) return null;
  const { network, port, auth } = attempts as Record<string, unknown>;
  if (!isCount(network) || !isCount(port) || !isCount(auth)) return null;
  return { about, savedAt, dueAt, reason: known, attempts: { network, port, auth } };
};

const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;
const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
