import { createPatch } from 'rfc6902';
import type { KubeObject } from './object.ts';

/** admission.k8s.io/v1 AdmissionRequest, what handlers need of it. */
export type AdmissionRequest = {
  readonly uid: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly resource: { readonly group: string; readonly version: string; readonly resource: string };
  readonly subResource?: string;
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  /** Absent for objects that get their name from generateName. */
  readonly name?: string;
  readonly namespace?: string;
  readonly userInfo: {
    readonly username?: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  /** Absent for DELETE. */
  readonly object?: KubeObject;
  readonly oldObject?: KubeObject;
  /** No side effects then. */
  readonly dryRun?: boolean;
};

export type AdmissionAnswer =
  | {
      readonly allowed: true;
      /** The object as it should be; the difference is sent as a JSON patch. Mutating webhooks only. */
      readonly object?: KubeObject;
      /** Shown to whoever sent the request. */
      readonly warnings?: readonly string[];
    }
  | {
      readonly allowed: false;
      /** A sentence for whoever sent the request. */
      readonly message: string;
      /** Default 403. */
      readonly code?: number;
      readonly warnings?: readonly string[];
    };

/** What came is no AdmissionReview of this version. */
export class BadReview extends Error {
  override readonly name = 'BadReview';
}

/** Throws BadReview. */
export const parseReview = (body: string): AdmissionRequest => {
  let review: { apiVersion?: unknown; kind?: unknown; request?: Partial<AdmissionRequest> } | null;
  try {
    review = JSON.parse(body);
  } catch (cause) {
    throw new BadReview('expected JSON', { cause });
  }
  if (review?.kind !== 'AdmissionReview' || review.apiVersion !== 'admission.k8s.io/v1')
    throw new BadReview(
      `expected an AdmissionReview of admission.k8s.io/v1; got ${String(review?.kind)} of ${String(review?.apiVersion)}`,
    );
  const { request } = review;
  if (typeof request?.uid !== 'string' || typeof request.operation !== 'string')
    throw new BadReview('expected a request with uid and operation');
  return request as AdmissionRequest;
};

/** The AdmissionReview that answers the request, as controller-runtime's pkg/webhook/admission `Response.Complete` makes it. */
export const answerReview = (request: AdmissionRequest, answer: AdmissionAnswer): object => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  response: {
    uid: request.uid,
    allowed: answer.allowed,
    ...(answer.warnings?.length ? { warnings: answer.warnings } : {}),
    ...(answer.allowed
      ? patchOf(request.object, answer.object)
      : { status: { code: answer.code ?? 403, message: answer.message } }),
  },
});

const patchOf = (before: KubeObject | undefined, after: KubeObject | undefined): object => {
  if (after === undefined || after === before) return {};
  const operations = createPatch(before ?? null, after);
  if (operations.length === 0) return {};
  return { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(operations)).toString('base64') };
};
