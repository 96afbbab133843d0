import type { Dispatcher } from 'undici';

export const header = (answer: Dispatcher.ResponseData, name: string): string | undefined => {
  const value = answer.headers[name];
  return Array.isArray(value) ? value[0] : value;
};

/** Of an answer that is success. Rejects without the text, and without what JSON.parse quotes of it: it may be half a Secret. */
export const parseAnswer = (what: string, text: string, type = 'no type'): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${what}: expected JSON; got ${Buffer.byteLength(text)} bytes of ${type} that are none`);
  }
};

/**
 * "self-signed certificate" alone helps nobody: whose? So client-go's net/url `Error` names method and address, too. What is not of the
 * network, say the reason of a signal, stays as it is.
 */
export const unanswered = (
  { method, path }: { readonly method: string; readonly path: string },
  host: string,
  error: unknown,
): unknown =>
  isOfTheNetwork(error)
    ? new Error(`${method} ${path.split('?')[0]}: no answer from ${host}`, { cause: error })
    : error;

/** Node's and undici's own words for a name that is not known, a connection that fails, a certificate that is not trusted. */
const isOfTheNetwork = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string';
