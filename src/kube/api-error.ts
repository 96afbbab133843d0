/**
 * An answer of the API server that is not success. `reason` is Kubernetes' own word (metav1.StatusReason: NotFound, Conflict,
 * AlreadyExists, Expired, Forbidden, Invalid, …); empty where a proxy or a dying server answered instead.
 */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;
  readonly reason: string;
  /** How long the server asks to be left alone, from `Retry-After` or Status.details.retryAfterSeconds; at most a minute. */
  readonly retryAfterMs: number | undefined;
  readonly details: StatusDetails | undefined;

  constructor(facts: {
    code: number;
    reason: string;
    message: string;
    retryAfterMs?: number | undefined;
    details?: StatusDetails | undefined;
  }) {
    super(facts.message);
    this.code = facts.code;
    this.reason = facts.reason;
    this.retryAfterMs = facts.retryAfterMs;
    this.details = facts.details;
  }
}

export type StatusDetails = {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly retryAfterSeconds?: number;
  readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
};

/** metav1.Status, as the server sends it as an answer and inside a watch. */
export type Status = {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: StatusDetails;
};

/** `what` is the request in words; it begins the message, since "not found" alone helps nobody. */
export const apiErrorFrom = (what: string, code: number, body: string, retryAfter?: string): ApiError => {
  const status = parseStatus(body);
  const text = status?.message ?? body.trim().slice(0, 200);
  return new ApiError({
    code,
    reason: status?.reason ?? '',
    message: `${what}: ${code}${text ? ` ${text}` : ''}`,
    retryAfterMs: retryAfterMs(retryAfter, status),
    details: status?.details,
  });
};

/** The Status that a watch sends in an ERROR event. */
export const apiErrorFromStatus = (what: string, status: Status): ApiError =>
  apiErrorFrom(what, status.code ?? 500, JSON.stringify(status));

/**
 * An answer that is no refusal and not what the protocol promises. Only a new list tells what it kept from us: client-go's
 * `ClientWatchDecoding` (apimachinery watch/streamwatcher.go) likewise ends in one.
 */
export const unintelligible = (message: string): ApiError => new ApiError({ code: 0, reason: 'Unknown', message });

const hasReason = (error: unknown, reason: string): boolean => error instanceof ApiError && error.reason === reason;
const hasCode = (error: unknown, code: number): boolean => error instanceof ApiError && error.code === code;

export const isNotFound = (error: unknown): boolean => hasCode(error, 404);
/** Somebody changed the object since it was read, or (apply) another manager owns a field. Read again and decide again. */
export const isConflict = (error: unknown): boolean => hasCode(error, 409) && !hasReason(error, 'AlreadyExists');
export const isAlreadyExists = (error: unknown): boolean => hasReason(error, 'AlreadyExists');
/** The resourceVersion or continue token is older than what the server remembers: only a new list helps. */
export const isGone = (error: unknown): boolean => hasCode(error, 410) || hasReason(error, 'Expired');
export const isForbidden = (error: unknown): error is ApiError => hasCode(error, 403);
export const isInvalid = (error: unknown): boolean => hasCode(error, 422) || hasCode(error, 400);

/** Whether the same request may succeed later without anybody changing it: overload, restarts, and everything that is no answer. */
export const isTransient = (error: unknown): boolean =>
  !(error instanceof ApiError) || error.code === 408 || error.code === 429 || error.code >= 500;

/** Kubernetes' words for answers that come without them: what is no API at all is a plain 404. */
const REASONS: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
};

/** One word for metrics: the server's own, `Gone`, or `Network` where nobody answered. */
export const reasonOf = (error: unknown): string => {
  if (isGone(error)) return 'Gone';
  if (error instanceof ApiError) return error.reason || REASONS[error.code] || String(error.code);
  return 'Network';
};

const parseStatus = (body: string): Status | undefined => {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null && 'kind' in parsed && parsed.kind === 'Status'
      ? (parsed as Status)
      : undefined;
  } catch {
    return undefined;
  }
};

/**
 * The API server asks for seconds. client-go (rest/with_retry.go) takes whatever it is told; whoever sends a day, say a proxy, would
 * make us deaf for a day.
 */
const LONGEST_RETRY_AFTER_MS = 60_000;

/** Only seconds: the API server never sends the date form. */
const retryAfterMs = (header: string | undefined, status: Status | undefined): number | undefined => {
  const seconds = header === undefined ? status?.details?.retryAfterSeconds : Number(header);
  return seconds !== undefined && Number.isFinite(seconds) && seconds >= 0
    ? Math.min(seconds * 1000, LONGEST_RETRY_AFTER_MS)
    : undefined;
};
